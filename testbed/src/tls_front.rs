//! Stands before a server that talks plain HTTP, and talks TLS, as Upstash does.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// A server at a port of its own, whose certificate nobody trusts but who is told of its authority. It ends when it is
/// dropped.
pub struct TlsFront {
    url: String,
    authority: String,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    /// `name` is what its certificate is for, and `behind` the URL of the server behind it.
    pub async fn start(name: &str, behind: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .context("set up TLS")?;

        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for TLS")?;
        let url = format!("https://{name}:{}", listener.local_addr()?.port());
        let behind = behind.trim_start_matches("http://").to_owned();
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), behind));
        Ok(Self { url, authority: authority.pem(), accepting })
    }

    /// `https://NAME:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority that its certificate is of, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, behind: String) {
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        tokio::spawn(async move {
            // Who does not trust us goes away; the test sees it at the client.
            if let Ok(mut client) = acceptor.accept(client).await
                && let Ok(mut server) = TcpStream::connect(behind).await
            {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

//! Binds the two ports and serves them until told to stop. It never connects to anything.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    pin, select,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin, api,
    delivery::{Dropped, LastOfItsConnection},
    simulator::Simulator,
    wire::{Ending, Wire},
};

/// How long calls under way may take to end once it is time to stop.
const GRACE: Duration = Duration::from_millis(500);

/// Both ports, bound but not served yet.
#[derive(Debug)]
pub struct Server {
    api: TcpListener,
    admin: TcpListener,
    simulator: Arc<Simulator>,
}

impl Server {
    pub async fn bind(api: SocketAddr, admin: SocketAddr, simulator: Arc<Simulator>) -> io::Result<Self> {
        Ok(Self { api: TcpListener::bind(api).await?, admin: TcpListener::bind(admin).await?, simulator })
    }

    pub fn api_url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.api.local_addr()?))
    }

    pub fn admin_url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.admin.local_addr()?))
    }

    /// Serves until `stop` is done, and a moment longer for calls under way.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let stopped = CancellationToken::new();
        let mut admin = tokio::spawn(
            axum::serve(self.admin, admin::routes(Arc::clone(&self.simulator)))
                .with_graceful_shutdown(stopped.clone().cancelled_owned())
                .into_future(),
        );
        let mut api = tokio::spawn(serve_api(self.api, self.simulator, stopped.clone()));
        stop.await;
        stopped.cancel();
        let both = async {
            let _ended = (&mut api).await;
            let _ended = (&mut admin).await;
        };
        if tokio::time::timeout(GRACE, both).await.is_err() {
            tracing::debug!("calls under way are cut off");
            api.abort();
            admin.abort();
        }
        Ok(())
    }
}

async fn serve_api(listener: TcpListener, simulator: Arc<Simulator>, stopped: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            () = stopped.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&simulator), stopped.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: some come back when connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: TcpStream, simulator: Arc<Simulator>, stopped: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let ending = Ending::default();
    let service = service_fn(|request| {
        let answer = api::answer(Arc::clone(&simulator), request);
        let ending = ending.clone();
        async move {
            let answer = answer.await?;
            if answer.extensions().get::<LastOfItsConnection>().is_some() {
                ending.after_this_answer();
            }
            Ok::<_, Dropped>(answer)
        }
    });
    let wire = TokioIo::new(Wire::new(stream, ending.clone()));
    let connection = http1::Builder::new().serve_connection(wire, service);
    pin!(connection);
    let ended = select! {
        ended = connection.as_mut() => ended,
        () = stopped.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

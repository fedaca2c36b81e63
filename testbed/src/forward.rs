//! Connections from one network namespace to another.
//!
//! A socket stays in the namespace that it was opened in. So a process inside can accept connections that are made outside,
//! where it is given the listening socket as its stdin; and the other way round by a Unix socket, which belongs to no network.

use std::{
    net::{Ipv4Addr, TcpListener as StdTcpListener},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::{Process, Program, binary, node::Namespaces};

/// A process that accepts connections in one namespace and makes one in another for each.
pub(crate) struct Forwarder {
    port: u16,
    _process: Process,
}

impl Forwarder {
    /// From a port of the machine's loopback to an address inside.
    pub(crate) async fn out_of(namespaces: &Namespaces, to: &str, dir: &Path) -> Result<Self> {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a free port")?;
        let port = listener.local_addr()?.port();
        let (binary, mut args) = namespaces.enter(&binary("testbed").await?);
        args.extend(["forward".to_owned(), to.to_owned()]);
        let program = Program { name: "forwarder", binary: &binary, args, env: Vec::new(), dir };
        let process = Process::start_with_input(program, OwnedFd::from(listener).into())?;
        Ok(Self { port, _process: process })
    }

    /// From a port of an address inside to one of the machine's.
    pub(crate) async fn into(namespaces: &Namespaces, from: &str, to: u16, dir: &Path) -> Result<Self> {
        let socket = dir.join(format!("forward-{to}.sock"));
        let listener = UnixListener::bind(&socket).context("open a Unix socket")?;
        tokio::spawn(async move {
            // Until the runtime ends, which is that of a test.
            while let Ok((inside, _)) = listener.accept().await {
                tokio::spawn(async move {
                    join(inside, TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?).await
                });
            }
        });
        let (binary, mut args) = namespaces.enter(&binary("testbed").await?);
        args.extend([
            "forward".to_owned(),
            "--from".to_owned(),
            from.to_owned(),
            socket.display().to_string(),
        ]);
        let process =
            Process::start(Program { name: "forwarder", binary: &binary, args, env: Vec::new(), dir })?;
        Ok(Self { port: to, _process: process })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Where a connection leads: `ADDRESS:PORT`, or the path of a Unix socket.
#[derive(Clone, Debug)]
pub enum Target {
    Tcp(String),
    Unix(PathBuf),
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        if text.starts_with('/') { Self::Unix(text.into()) } else { Self::Tcp(text.to_owned()) }
    }
}

/// Forwards connections until it is killed; `from` is where it listens, else its stdin is a socket that listens.
pub async fn forward(from: Option<&str>, to: Target) -> Result<()> {
    let listener = if let Some(address) = from {
        TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?
    } else {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("read the socket at stdin")?;
        let listener = StdTcpListener::from(stdin);
        listener.set_nonblocking(true).context("read the socket at stdin")?;
        TcpListener::from_std(listener)?
    };
    loop {
        let (connection, _) = listener.accept().await.context("accept a connection")?;
        let to = to.clone();
        tokio::spawn(async move {
            match to {
                Target::Tcp(address) => join(connection, TcpStream::connect(address).await?).await,
                Target::Unix(path) => join(connection, UnixStream::connect(path).await?).await,
            }
        });
    }
}

/// Carries what each side says to the other, until both have said everything. That one breaks off is for the sides to notice.
async fn join(
    mut one: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    mut other: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> std::io::Result<()> {
    tokio::io::copy_bidirectional(&mut one, &mut other).await.map(drop)
}

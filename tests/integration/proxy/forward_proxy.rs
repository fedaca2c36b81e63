//! A forward proxy that keeps what clients send to it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A proxy at a port of its own that opens tunnels and does nothing else. It ends when it is dropped.
pub(crate) struct ForwardProxy {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    accepting: JoinHandle<()>,
}

impl ForwardProxy {
    pub(crate) async fn start() -> Self {
        Self::listen(true).await
    }

    /// One that opens no tunnel either.
    pub(crate) async fn refusing() -> Self {
        Self::listen(false).await
    }

    async fn listen(opens_tunnels: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let accepting = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, Arc::clone(&seen), opens_tunnels));
                }
            }
        });
        Self { port, seen, accepting }
    }

    /// For a variable; `user` may be empty.
    pub(crate) fn url(&self, user: &str) -> String {
        let at = if user.is_empty() { "" } else { "@" };
        format!("http://{user}{at}127.0.0.1:{}", self.port)
    }

    /// Everything that clients have sent.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves one connection for as long as both sides want it.
async fn serve(mut client: TcpStream, seen: Arc<Mutex<Vec<u8>>>, opens_tunnels: bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
        seen.lock().unwrap().push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(target) = target.filter(|_| opens_tunnels) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        return;
    };
    // Whatever the host is called, it is on this machine.
    let (_, port) = target.rsplit_once(':').unwrap();
    let server = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        seen.lock().unwrap().extend_from_slice(&bytes[..count]);
        if to_server.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

//! The admin server: `/livez` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What must hold before the process is ready: gates with names, so that an answer tells which one is shut.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Vec<(&'static str, AtomicBool)>>,
}

impl Readiness {
    /// Gates, all shut.
    pub fn new(names: &[&'static str]) -> Self {
        Self { gates: Arc::new(names.iter().map(|name| (*name, AtomicBool::new(false))).collect()) }
    }

    /// Opens a gate for good.
    pub fn open(&self, name: &str) {
        for (_, gate) in self.gates.iter().filter(|(gate, _)| *gate == name) {
            gate.store(true, Ordering::Release);
        }
    }

    /// Each gate's name and whether it is open.
    fn report(&self) -> (StatusCode, String) {
        let mut status = StatusCode::OK;
        let mut lines = String::new();
        for (name, gate) in self.gates.iter() {
            let open = gate.load(Ordering::Acquire);
            if !open {
                status = StatusCode::SERVICE_UNAVAILABLE;
            }
            lines.push_str(if open { "[+] " } else { "[-] " });
            lines.push_str(name);
            lines.push_str(if open { " ok\n" } else { " not yet\n" });
        }
        (status, lines)
    }
}

/// Binds the address, so that a wrong one is told before anything starts.
///
/// # Errors
/// The address cannot be bound.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop`. `/livez` says only that the process answers: a restart mends nothing else.
///
/// # Errors
/// The socket breaks.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|State(readiness): State<Readiness>| async move { readiness.report() }))
        .with_state(readiness);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_gates_that_are_shut() {
        let readiness = Readiness::new(&["a", "b"]);
        readiness.open("a");
        assert_eq!(
            readiness.report(),
            (StatusCode::SERVICE_UNAVAILABLE, "[+] a ok\n[-] b not yet\n".to_owned())
        );
        readiness.open("b");
        assert_eq!(readiness.report().0, StatusCode::OK);
    }
}

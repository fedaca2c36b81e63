//! The admin server: `/livez` and `/readyz`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::fmt::Write as _;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;

fn report(readiness: &Readiness) -> (StatusCode, String) {
    let mut status = StatusCode::OK;
    let mut lines = String::new();
    for (name, open) in readiness.gates() {
        if !open {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        let (mark, word) = if open { ("[+]", "ok") } else { ("[-]", "not yet") };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{mark} {name} {word}");
    }
    (status, lines)
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
        .route("/readyz", get(|State(readiness): State<Readiness>| async move { report(&readiness) }))
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
            report(&readiness),
            (StatusCode::SERVICE_UNAVAILABLE, "[+] a ok\n[-] b not yet\n".to_owned())
        );
        readiness.open("b");
        assert_eq!(report(&readiness).0, StatusCode::OK);
    }
}

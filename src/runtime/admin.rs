//! The admin server: `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::metrics::exposition::{Exposition, Format};
use super::readiness::Readiness;

/// What the server tells of.
#[derive(Clone, Debug)]
struct Told {
    readiness: Readiness,
    metrics: Exposition,
    scrapes: Arc<Semaphore>,
}

/// Whether the query has `verbose`, with or without a value, as kube-apiserver takes it.
fn is_verbose(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|part| part.split('=').next() == Some("verbose"))
}

/// The form of kube-apiserver's own checks: in short when all is well, and with the list when not or when asked.
fn report(check: &str, (is_well, lines): (bool, String), verbose: bool) -> (StatusCode, String) {
    match (is_well, verbose) {
        (true, false) => (StatusCode::OK, "ok".to_owned()),
        (true, true) => (StatusCode::OK, format!("{lines}{check} check passed\n")),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("{lines}{check} check failed\n")),
    }
}

/// That the process answers is all there is to it: a restart fixes nothing else.
async fn livez(RawQuery(query): RawQuery) -> (StatusCode, String) {
    report("livez", (true, "[+]ping ok\n".to_owned()), is_verbose(query.as_deref()))
}

async fn readyz(State(told): State<Told>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    report("readyz", told.readiness.report(), is_verbose(query.as_deref()))
}

async fn metrics(State(told): State<Told>, headers: HeaderMap) -> Response {
    let accept: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    // One at a time: with thousands of policies a text takes a while and megabytes.
    let turn = told.scrapes.acquire_owned().await;
    let rendered = spawn_blocking(move || {
        let text = told.metrics.render(format);
        // Here, as who asked may have hung up.
        drop(turn);
        text
    })
    .await;
    match rendered {
        Ok(Ok(text)) => {
            ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")], text).into_response()
        }
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Binds the address, so that a wrong one is told before anything starts.
///
/// # Errors
/// The address cannot be bound.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until it is dropped: also while the process stops, and all the more then somebody may look.
///
/// # Errors
/// The socket breaks.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics_of: Exposition,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Told { readiness, metrics: metrics_of, scrapes: Arc::new(Semaphore::new(1)) });
    axum::serve(listener, routes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_gates_that_are_shut_and_why() {
        let readiness = Readiness::new(&[("a", "too early"), ("b", "no luck")]);
        let told = |verbose| report("readyz", readiness.report(), verbose);
        readiness.open("a");
        let shut = "[+]a ok\n[-]b failed: no luck\nreadyz check failed\n".to_owned();
        assert_eq!(told(false), (StatusCode::SERVICE_UNAVAILABLE, shut.clone()));
        assert_eq!(told(true), (StatusCode::SERVICE_UNAVAILABLE, shut));
        readiness.open("b");
        assert_eq!(told(false), (StatusCode::OK, "ok".to_owned()));
        assert_eq!(told(true), (StatusCode::OK, "[+]a ok\n[+]b ok\nreadyz check passed\n".to_owned()));
        readiness.shut("shutdown", "the process stops");
        assert_eq!(told(false).0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_list_is_asked_for_by_a_word() {
        for query in ["verbose", "verbose=", "verbose=1", "x=1&verbose"] {
            assert!(is_verbose(Some(query)), "{query}");
        }
        for query in [None, Some(""), Some("verboser"), Some("x=verbose")] {
            assert!(!is_verbose(query), "{query:?}");
        }
    }
}

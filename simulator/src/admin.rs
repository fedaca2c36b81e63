//! The admin port: tokens, seeding, fault rules, and what happened.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::{StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    dlq::{Lag, Refail},
    entry::{Entry, Seed},
    faults::FaultPlan,
    refusal::Refusal,
    service::NewService,
    simulator::{NewToken, Simulator, lock},
};

type Shared = State<Arc<Simulator>>;

/// The name of a token or a DLQ, from the path.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = name.map_err(|error| Refusal::bad_request(error.body_text()))?;
        if name.is_empty() {
            return Err(Refusal::bad_request("a name cannot be empty"));
        }
        Ok(Self(name))
    }
}

/// The routes of the admin port.
pub fn routes(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/tokens/{token}", put(put_token).delete(delete_token))
        .route("/dlqs/{dlq}", delete(forget))
        .route("/dlqs/{dlq}/entries", post(seed).get(entries))
        .route("/dlqs/{dlq}/refail", put(put_refail).delete(delete_refail))
        .route("/dlqs/{dlq}/lag", put(put_lag).delete(delete_lag))
        .route("/dlqs/{dlq}/service", put(put_service).delete(delete_service))
        .route("/dlqs/{dlq}/ledger", get(ledger).delete(clear_calls))
        .route("/clock", put(set_clock))
        .route("/faults", put(replace_faults).post(append_faults).delete(clear_faults))
        .fallback(async || Refusal::not_found("no such route"))
        .method_not_allowed_fallback(async || Refusal::method_not_allowed())
        // Seeds can be long.
        .layer(DefaultBodyLimit::disable())
        .with_state(simulator)
}

async fn put_token(State(simulator): Shared, Name(token): Name, body: Bytes) -> Result<StatusCode, Refusal> {
    let new: NewToken = if body.is_empty() { NewToken::default() } else { read(&body)? };
    simulator.put_token(token, new);
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_token(State(simulator): Shared, Name(token): Name) -> StatusCode {
    simulator.delete_token(&token);
    StatusCode::NO_CONTENT
}

async fn forget(State(simulator): Shared, Name(dlq): Name) -> StatusCode {
    simulator.forget(&dlq);
    StatusCode::NO_CONTENT
}

async fn seed(State(simulator): Shared, Name(dlq): Name, body: Bytes) -> Result<Response, Refusal> {
    let seed: Seed = read(&body)?;
    let dlq_ids = lock(&simulator.dlq(&dlq)).seed(seed, simulator.now())?;
    Ok(written(&json!({ "dlqIds": dlq_ids })))
}

async fn entries(State(simulator): Shared, Name(dlq): Name) -> Response {
    let dlq = simulator.dlq(&dlq);
    let mut dlq = lock(&dlq);
    dlq.settle(simulator.now());
    let entries: Vec<&Entry> = dlq.entries().collect();
    written(&Entries { entries })
}

#[derive(Serialize)]
struct Entries<'a> {
    entries: Vec<&'a Entry>,
}

async fn put_refail(State(simulator): Shared, Name(dlq): Name, body: Bytes) -> Result<StatusCode, Refusal> {
    let refail: Refail = read(&body)?;
    lock(&simulator.dlq(&dlq)).set_refail(Some(refail));
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_refail(State(simulator): Shared, Name(dlq): Name) -> StatusCode {
    lock(&simulator.dlq(&dlq)).set_refail(None);
    StatusCode::NO_CONTENT
}

async fn put_lag(State(simulator): Shared, Name(dlq): Name, body: Bytes) -> Result<StatusCode, Refusal> {
    let lag: Lag = read(&body)?;
    lock(&simulator.dlq(&dlq)).set_lag(Some(lag));
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_lag(State(simulator): Shared, Name(dlq): Name) -> StatusCode {
    lock(&simulator.dlq(&dlq)).set_lag(None);
    StatusCode::NO_CONTENT
}

async fn put_service(State(simulator): Shared, Name(dlq): Name, body: Bytes) -> Result<StatusCode, Refusal> {
    simulator.set_service(&dlq, read(&body)?)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_service(State(simulator): Shared, Name(dlq): Name) -> Result<StatusCode, Refusal> {
    simulator.set_service(&dlq, NewService::default())?;
    Ok(StatusCode::NO_CONTENT)
}

async fn ledger(State(simulator): Shared, Name(dlq): Name) -> Response {
    let dlq = simulator.dlq(&dlq);
    let mut dlq = lock(&dlq);
    dlq.settle(simulator.now());
    written(&dlq.ledger)
}

async fn clear_calls(State(simulator): Shared, Name(dlq): Name) -> StatusCode {
    lock(&simulator.dlq(&dlq)).ledger.calls.clear();
    StatusCode::NO_CONTENT
}

async fn set_clock(State(simulator): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    simulator.set_clock(read(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn replace_faults(State(simulator): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let plan: FaultPlan = read(&body)?;
    plan.check()?;
    simulator.faults().replace(plan);
    Ok(StatusCode::NO_CONTENT)
}

async fn append_faults(State(simulator): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let plan: FaultPlan = read(&body)?;
    plan.check()?;
    simulator.faults().append(plan);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(simulator): Shared) -> StatusCode {
    simulator.faults().replace(FaultPlan::default());
    StatusCode::NO_CONTENT
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn written(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.message }).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

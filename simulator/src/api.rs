//! The API port: one call from its request to its answer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use hyper::body::Body as HttpBody;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::{
    answer::{Answer, Content},
    clock::Millis,
    cursor::{self, Position},
    delivery::{self, Dropped},
    dlq::{Acted, Dlq},
    faults::{CursorFault, DropTime, Fault, Loss, Trouble},
    ledger::Call,
    operation::{Action, Endpoint, Operation, Route},
    overrides::Overrides,
    query::{self, Pairs, Selection},
    refusal::Refusal,
    simulator::{Simulator, Token, UNAUTHORIZED, lock},
};

/// A body that names entries.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ids {
    dlq_ids: Vec<String>,
}

/// Answers one request. The error is a connection to be closed without a word.
pub async fn answer<B>(simulator: Arc<Simulator>, request: Request<B>) -> Result<Response<Body>, Dropped>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (head, body) = request.into_parts();
    let mut incoming = Incoming::read(&head, &simulator);
    if incoming.can_have_ids_in_its_body() {
        incoming.read_body(Body::new(body)).await;
    }
    let trouble = simulator.faults().meet(
        incoming.dlq_name(),
        incoming.token_name.as_deref(),
        incoming.operation(),
        incoming.pairs.as_ref().ok(),
    );
    let fault = trouble.fault.clone();
    let answer = if trouble.latency.is_zero() {
        incoming.take_place(&simulator, &trouble, true)
    } else {
        // A service continues with what it has accepted, even when the caller hangs up: so this is a task of its own.
        let (answered, answer) = oneshot::channel();
        let simulator = Arc::clone(&simulator);
        tokio::spawn(async move {
            tokio::time::sleep(trouble.latency).await;
            let caller_waits = !answered.is_closed();
            // Nobody may be there to take it any more; the ledger says so.
            drop(answered.send(incoming.take_place(&simulator, &trouble, caller_waits)));
        });
        answer.await.map_err(|_| Dropped)?
    };
    let mut response = delivery::send(answer, fault, simulator.now()).await?;
    if simulator.clock_offset() != 0 {
        set_date(&mut response, simulator.now());
    }
    Ok(response)
}

/// A request, taken apart.
struct Incoming {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    pairs: Result<Pairs, Refusal>,
    token_name: Option<String>,
    token: Option<Token>,
    arrived_at: Millis,
}

impl Incoming {
    fn read(head: &request::Parts, simulator: &Simulator) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let pairs = Pairs::parse(query);
        let token_name = token_name(&head.headers, query);
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: query.to_owned(),
            headers: head.headers.clone(),
            token: token_name.as_deref().and_then(|name| simulator.token(name)),
            pairs,
            token_name,
            arrived_at: simulator.now(),
        }
    }

    /// Older SDKs delete messages by IDs in a JSON body.
    fn can_have_ids_in_its_body(&self) -> bool {
        let (route, _) = Route::find(&self.method, &self.path);
        (route.endpoint, route.operation) == (Endpoint::Messages, Operation::Delete)
    }

    async fn read_body(&mut self, body: Body) {
        const LARGEST: usize = 1 << 20;
        const LONGEST: Duration = Duration::from_secs(10);
        let read = tokio::time::timeout(LONGEST, axum::body::to_bytes(body, LARGEST)).await;
        let read = read.ok().and_then(Result::ok);
        if read.as_ref().is_some_and(Bytes::is_empty) {
            return;
        }
        self.pairs = self.pairs.clone().and_then(|pairs| {
            let ids: Option<Ids> = read.and_then(|body| serde_json::from_slice(&body).ok());
            let refusal = || Refusal::bad_request("the body must be JSON such as {\"dlqIds\": [\"1\"]}");
            pairs.with_ids(ids.ok_or_else(refusal)?.dlq_ids)
        });
    }

    fn dlq_name(&self) -> &str {
        self.token.as_ref().map_or(UNAUTHORIZED, |token| token.dlq.as_str())
    }

    fn operation(&self) -> Operation {
        Route::find(&self.method, &self.path).0.operation
    }

    /// Does what the call asks for, as far as the fault lets it, and writes it into the ledger: one step for the DLQ.
    fn take_place(&self, simulator: &Simulator, trouble: &Trouble, caller_waits: bool) -> Answer {
        let dlq = simulator.dlq(self.dlq_name());
        let mut dlq = lock(&dlq);
        let now = simulator.now();
        dlq.settle(now);
        match trouble.fault {
            Some(Fault::Expire { count }) => dlq.expire_oldest(count),
            Some(Fault::Arrive { count }) => dlq.arrive_anew(count, now),
            _ => {}
        }
        let seq = dlq.ledger.open_call();
        let fault = trouble.fault.as_ref();
        let answer = match fault {
            Some(Fault::RefuseSeveral { parameter }) => {
                Refusal::bad_request(format!("{parameter} takes only one value")).into()
            }
            Some(Fault::Quota {}) => Refusal::quota_violated().into(),
            Some(fault) if fault.prevents_action() => Answer::ok(Content::Nothing, Vec::new()),
            _ => self.perform(&mut dlq, fault, seq, now),
        };
        let delivered = caller_waits && fault.is_none_or(Fault::delivers);
        let call = Call { delivered, fault: trouble.name(), ..self.call(seq, now, &answer, fault) };
        tracing::debug!(dlq = dlq.name(), operation = ?call.operation, status = call.status, "call");
        dlq.ledger.calls.push(call);
        answer
    }

    fn perform(&self, dlq: &mut Dlq, fault: Option<&Fault>, seq: u64, now: Millis) -> Answer {
        self.try_to_perform(dlq, fault, seq, now).unwrap_or_else(Answer::from)
    }

    fn try_to_perform(
        &self,
        dlq: &mut Dlq,
        fault: Option<&Fault>,
        seq: u64,
        now: Millis,
    ) -> Result<Answer, Refusal> {
        let token = self.token.as_ref().ok_or_else(Refusal::unauthorized)?;
        let (route, refusal) = Route::find(&self.method, &self.path);
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if token.read_only && !route.operation.only_reads() {
            return Err(Refusal::read_only());
        }
        let mut pairs = self.pairs.clone()?;
        if let Some(Fault::Ignore { parameters }) = fault {
            pairs = pairs.without(parameters);
        }
        let selection = match (route.operation, route.operation.bulk_action()) {
            (Operation::List, _) => Selection::of_list_call(&pairs, route.endpoint, dlq.name())?,
            (_, Some(action)) => {
                let service = dlq.service();
                if action == Action::Delete && service.delete_refuses_unknown {
                    pairs.check_known(route.endpoint)?;
                }
                let most = service.most_per_call.of(action);
                Selection::of_bulk_call(&pairs, route.endpoint, dlq.name(), most)?
            }
            // The path says which entry.
            _ => Selection::Ids(Vec::new()),
        };
        let cursor_fault = match (fault, &selection) {
            (Some(Fault::Cursor(fault)), Selection::Matching { .. }) => Some(*fault),
            // A call by IDs has no cursor that could go wrong.
            _ => None,
        };
        if cursor_fault == Some(CursorFault::EmptyPage) {
            if matches!(route.operation, Operation::Resume | Operation::Restart) {
                Overrides::read(&self.headers)?;
            }
            let cursor = cursor::encode(dlq.name(), selection.start(), seq);
            return Ok(empty_page(route.operation).with_cursor(cursor));
        }
        let page = |action, dlq: &mut Dlq| {
            let overrides = self.overrides(action)?;
            dlq.act(action, &selection, &overrides, seq, now)
        };
        let one = |action, dlq: &mut Dlq| {
            let overrides = self.overrides(action)?;
            dlq.act_on_one(action, &route.dlq_id()?, &overrides, seq, now)
        };
        let answer = match route.operation {
            Operation::Resume => Answer::runs(page(Action::Resume, dlq)?),
            Operation::Restart => Answer::runs(page(Action::Restart, dlq)?),
            Operation::Delete => Answer::deleted(page(Action::Delete, dlq)?),
            Operation::ResumeOne => Answer::one(one(Action::Resume, dlq)?),
            Operation::RestartOne => Answer::one(one(Action::Restart, dlq)?),
            Operation::DeleteOne => Answer::one(one(Action::Delete, dlq)?),
            Operation::List => {
                let (entries, cursor) = dlq.list(&selection);
                Answer::messages(&entries, cursor)
            }
            Operation::Get => Answer::message(dlq.get(&route.dlq_id()?)?),
            Operation::Callback => Answer::failed_run(dlq.rerun_failure_function(&route.dlq_id()?)?),
            Operation::CancelCallback => Answer::cancelled(dlq.cancel_failure_function(&route.dlq_id()?)?),
            Operation::Unknown => return Err(Refusal::not_found("no such route")),
        };
        Ok(match cursor_fault {
            Some(CursorFault::Repeat) => {
                let fixed = || cursor::encode(dlq.name(), Position::START, 0);
                answer.with_cursor(selection.cursor().map_or_else(fixed, ToOwned::to_owned))
            }
            _ => answer,
        })
    }

    /// Deleting starts nothing, so it has no overrides.
    fn overrides(&self, action: Action) -> Result<Overrides, Refusal> {
        if action == Action::Delete { Ok(Overrides::default()) } else { Overrides::read(&self.headers) }
    }

    fn call(&self, seq: u64, at: Millis, answer: &Answer, fault: Option<&Fault>) -> Call {
        let status = match fault {
            Some(Fault::Status(fault)) => fault.code,
            Some(Fault::RateLimit(_)) => StatusCode::TOO_MANY_REQUESTS.as_u16(),
            Some(Fault::LostAnswer { how: Loss::Status500 }) => StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            Some(Fault::Drop { when: DropTime::BeforeAction }) => 0,
            _ => answer.status.as_u16(),
        };
        Call {
            seq,
            arrived_at: self.arrived_at,
            at,
            operation: self.operation(),
            token: self.token_name.clone(),
            method: self.method.to_string(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: headers_for_the_ledger(&self.headers),
            authorization: self.headers.contains_key(header::AUTHORIZATION),
            token_in_query: self.query.split('&').any(|part| part.split('=').next() == Some("qstash_token")),
            status,
            dlq_ids: answer.dlq_ids.clone(),
            delivered: true,
            fault: None,
        }
    }
}

/// Dates a response by the service's clock; otherwise it bears the machine's time.
fn set_date(response: &mut Response<Body>, now: Millis) {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(now).unwrap_or_default());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(time)) {
        response.headers_mut().insert(header::DATE, date);
    }
}

/// The token of a call. The header counts when there is one, and the query otherwise.
fn token_name(headers: &HeaderMap, query: &str) -> Option<String> {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        }
        None => query::token(query),
    }
}

fn headers_for_the_ledger(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION) {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.to_string())
            .and_modify(|values| {
                values.push_str(", ");
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

fn empty_page(operation: Operation) -> Answer {
    match operation {
        Operation::Delete => Answer::deleted(Acted::default()),
        Operation::List => Answer::messages(&[], None),
        _ => Answer::runs(Acted::default()),
    }
}

//! Stands between a client and the API server, and misbehaves on demand. It also counts what the client asks for.
//!
//! The client talks plain HTTP/1 to it; it talks TLS to the API server, and passes the client's token on.

use std::{
    collections::BTreeMap,
    fmt, fs,
    future::pending,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use futures::stream;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{ControlPlane, User};

/// What the API server itself takes at most.
const LONGEST_BODY: usize = 3 << 20;

/// How late a slow answer is.
const SLOW: Duration = Duration::from_secs(1);

/// What a client of the API server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    ListPolicies,
    /// Another page of that list.
    ContinueList,
    WatchPolicies,
    ReadPolicy,
    WriteStatus,
    ReadSecret,
    WriteEvent,
    Other,
}

impl CallKind {
    fn of(method: &Method, uri: &Uri) -> Self {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let below = |resource: &str| path.split_once(resource).map(|(_, rest)| rest);
        match (method, below("/dlqpolicies"), path) {
            (&Method::GET, Some(""), _) if query.contains("watch=true") => Self::WatchPolicies,
            (&Method::GET, Some(""), _) if query.contains("continue=") => Self::ContinueList,
            (&Method::GET, Some(""), _) => Self::ListPolicies,
            (&Method::GET, Some(_), _) => Self::ReadPolicy,
            (&Method::PATCH, Some(rest), _) if rest.ends_with("/status") => Self::WriteStatus,
            (&Method::GET, None, path) if path.contains("/secrets/") => Self::ReadSecret,
            (&Method::POST | &Method::PATCH, None, path) if path.contains("/events") => Self::WriteEvent,
            _ => Self::Other,
        }
    }
}

/// A request that reached the proxy.
#[derive(Clone, Copy, Debug)]
pub struct ApiCall {
    pub kind: CallKind,
    pub at: Instant,
}

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 429 with `Retry-After: 1`, as API priority and fairness answers. Not passed on.
    TooManyRequests,
    /// 410, as for a version that is compacted. Not passed on.
    Gone,
    /// The connection closes without an answer. Not passed on.
    Drop,
    /// Passed on, and the connection closes without an answer.
    LoseAnswer,
    /// Neither passed on nor answered, until [`ApiServerProxy::cut`].
    Hang,
    /// Passed on, and not answered until [`ApiServerProxy::cut`].
    HangAnswer,
    /// Passed on, and answered a second later.
    Slow,
    /// Passed on at [`ApiServerProxy::release`], also when the client no longer waits. Not answered.
    Hold,
}

struct Rule {
    kinds: Vec<CallKind>,
    trouble: Trouble,
    left: usize,
}

/// A running proxy. It ends with the runtime that it was started in.
pub struct ApiServerProxy {
    state: Arc<State>,
    kubeconfig: PathBuf,
    accepting: JoinHandle<()>,
}

struct State {
    server: String,
    http: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<ApiCall>>,
    cut: watch::Sender<()>,
    expired: watch::Sender<()>,
    released: watch::Sender<()>,
    held: Mutex<Held>,
}

/// Requests that are held back.
#[derive(Debug, Default)]
struct Held {
    waiting: usize,
    answers: Vec<StatusCode>,
}

impl ApiServerProxy {
    /// Starts it in front of a control plane's API server, for a client with the rights of `user`.
    pub async fn start(control_plane: &ControlPlane, user: User) -> Result<Self> {
        let certificates = fs::read(control_plane.ca()?).context("read the certificate authority")?;
        let certificates = reqwest::Certificate::from_pem_bundle(&certificates)?;
        let state = Arc::new(State {
            server: control_plane.url()?.to_owned(),
            http: reqwest::Client::builder().tls_certs_only(certificates).build()?,
            rules: Mutex::default(),
            calls: Mutex::default(),
            cut: watch::Sender::new(()),
            expired: watch::Sender::new(()),
            released: watch::Sender::new(()),
            held: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the proxy")?;
        let url = format!("http://{}", listener.local_addr()?);
        let kubeconfig = control_plane.kubeconfig_at(&url, control_plane.token(user)?)?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { state, kubeconfig, accepting })
    }

    /// For clients that are to go through it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Lets this befall every request of these kinds (of any, when none is named) from now on, after what was set
    /// before.
    pub fn trouble(&self, kinds: &[CallKind], trouble: Trouble) {
        self.trouble_times(kinds, trouble, usize::MAX);
    }

    /// The same for the next so many requests.
    pub fn trouble_times(&self, kinds: &[CallKind], trouble: Trouble, times: usize) {
        lock(&self.state.rules).push(Rule { kinds: kinds.to_vec(), trouble, left: times });
    }

    /// Ends all troubles. What hangs keeps hanging.
    pub fn clear(&self) {
        lock(&self.state.rules).clear();
    }

    /// Whether every trouble has befallen as many requests as it was to.
    pub fn is_over(&self) -> bool {
        lock(&self.state.rules).iter().all(|rule| rule.left == 0)
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.state.cut.send_replace(());
    }

    /// How many requests are held back now.
    pub fn held(&self) -> usize {
        lock(&self.state.held).waiting
    }

    /// Passes on what is held back.
    pub fn release(&self) {
        self.state.released.send_replace(());
    }

    /// What the API server answered to the requests that were held back.
    pub fn late_answers(&self) -> Vec<u16> {
        lock(&self.state.held).answers.iter().map(StatusCode::as_u16).collect()
    }

    /// Ends each watch under way with the error that the version it began at is too old.
    pub fn expire_watches(&self) {
        self.state.expired.send_replace(());
    }

    /// The requests since `since`.
    pub fn calls_since(&self, since: Instant) -> Vec<ApiCall> {
        lock(&self.state.calls).iter().filter(|call| call.at >= since).copied().collect()
    }

    /// How many requests of each kind there were since `since`.
    pub fn counts_since(&self, since: Instant) -> BTreeMap<CallKind, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls_since(since) {
            *counts.entry(call.kind).or_default() += 1;
        }
        counts
    }
}

impl Drop for ApiServerProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What it guards is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes hyper close a connection without an answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Aborts all connections when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&state)))),
                Err(_) => return,
            },
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut cut = state.cut.subscribe();
    let service = service_fn(|request| Arc::clone(&state).answer(request));
    select! {
        // Its end is told by what the client makes of it.
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        _ = cut.changed() => {}
    }
}

impl State {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
        let kind = CallKind::of(request.method(), request.uri());
        lock(&self.calls).push(ApiCall { kind, at: Instant::now() });
        match self.next_trouble(kind) {
            None => self.pass_on(kind, request).await,
            Some(Trouble::TooManyRequests) => {
                let answer = Response::builder()
                    .status(StatusCode::TOO_MANY_REQUESTS)
                    .header(header::RETRY_AFTER, "1")
                    .body(Body::from("Too many requests, please try again later."));
                answer.map_err(|_| Closed)
            }
            Some(Trouble::Gone) => {
                let answer = Response::builder()
                    .status(StatusCode::GONE)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from(expired().to_string()));
                answer.map_err(|_| Closed)
            }
            Some(Trouble::Drop) => Err(Closed),
            Some(Trouble::LoseAnswer) => {
                let answer = self.pass_on(kind, request).await?;
                // The API server has written it once its answer is whole.
                let _ = to_bytes(answer.into_body(), usize::MAX).await;
                Err(Closed)
            }
            Some(Trouble::Slow) => {
                let answer = self.pass_on(kind, request).await;
                sleep(SLOW).await;
                answer
            }
            Some(Trouble::Hold) => {
                self.hold(kind, request).await?;
                pending().await
            }
            Some(Trouble::Hang) => pending().await,
            Some(Trouble::HangAnswer) => {
                let answer = self.pass_on(kind, request).await?;
                let _ = to_bytes(answer.into_body(), usize::MAX).await;
                pending().await
            }
        }
    }

    /// Takes a request whole, and passes it on once it is released, whether or not its client still waits.
    async fn hold(self: &Arc<Self>, kind: CallKind, request: Request<Incoming>) -> Result<(), Closed> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), LONGEST_BODY).await.map_err(|_| Closed)?;
        let (state, mut released) = (Arc::clone(self), self.released.subscribe());
        lock(&self.held).waiting += 1;
        tokio::spawn(async move {
            let is_released = released.changed().await.is_ok();
            let answer = if is_released { state.send(kind, parts, body).await.ok() } else { None };
            let mut held = lock(&state.held);
            held.waiting -= 1;
            held.answers.extend(answer.map(|answer| answer.status()));
        });
        Ok(())
    }

    fn next_trouble(&self, kind: CallKind) -> Option<Trouble> {
        let mut rules = lock(&self.rules);
        let applies =
            |rule: &&mut Rule| rule.left > 0 && (rule.kinds.is_empty() || rule.kinds.contains(&kind));
        let rule = rules.iter_mut().find(applies)?;
        rule.left -= 1;
        Some(rule.trouble)
    }

    async fn pass_on(&self, kind: CallKind, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), LONGEST_BODY).await.map_err(|_| Closed)?;
        self.send(kind, parts, body).await
    }

    async fn send(&self, kind: CallKind, parts: Parts, body: Bytes) -> Result<Response<Body>, Closed> {
        let expired = self.expired.subscribe();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let answer = self
            .http
            .request(parts.method, format!("{}{target}", self.server))
            .headers(end_to_end(parts.headers))
            .body(body)
            .send()
            .await
            .map_err(|_| Closed)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = end_to_end(answer.headers().clone());
        }
        let expired = (kind == CallKind::WatchPolicies).then_some(expired);
        response.body(passed_on(answer, expired)).map_err(|_| Closed)
    }
}

/// The headers that are not about one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// The answer's body as it comes, until `expired` changes: then the error that ends a watch.
fn passed_on(answer: reqwest::Response, expired_at: Option<watch::Receiver<()>>) -> Body {
    Body::from_stream(stream::unfold(Some((answer, expired_at)), async |state| {
        let (mut answer, mut expired_at) = state?;
        let is_expired = async {
            match &mut expired_at {
                Some(expired_at) => drop(expired_at.changed().await),
                None => pending().await,
            }
        };
        select! {
            chunk = answer.chunk() => match chunk {
                Ok(None) => None,
                Ok(Some(bytes)) => Some((Ok(bytes), Some((answer, expired_at)))),
                Err(_) => Some((Err(Closed), None)),
            },
            () = is_expired => {
                let line = format!("{}\n", json!({ "type": "ERROR", "object": expired() }));
                Some((Ok(Bytes::from(line)), None))
            }
        }
    }))
}

/// What the API server says of a version that is compacted.
fn expired() -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    })
}

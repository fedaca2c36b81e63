//! The one place that talks to Upstash.

mod prune;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use url::Url;

use self::prune::Pruner;
use super::clock::Clocks;
use super::error::{ApiError, with_causes};
use super::request::{self, RequestError};
use super::response;
use super::token::Token;
use super::types::{Call, Operation, Page};

/// The longest answer that is read, in bytes; of a list, without what is not read of its entries. A longer one is an error and
/// is never held in memory.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// What of a refusal is read, in bytes: more than any message that is made from it.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// A longer answer is read only while at most [`LARGE_ANSWERS`] others are: many accounts at once may not eat the memory of
/// all. Hundreds of IDs fit into less.
const SMALL_BODY_BYTES: usize = 256 * 1024;
const LARGE_ANSWERS: usize = 2;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("dlq-operator/", env!("CARGO_PKG_VERSION"));

/// What all clients of a process have in common.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How long a call may take, from the connection to the last byte of the answer.
    pub request_timeout: Duration,
    /// Makes the `traceparent` of a call; none without traces.
    pub traceparent: Option<fn() -> Option<String>>,
}

impl ClientOptions {
    /// Without traces.
    pub fn new(request_timeout: Duration) -> Self {
        Self { request_timeout, traceparent: None }
    }
}

/// Is told of every call.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A call ended, with this status or without a whole answer.
    fn called(&self, operation: Operation, status: Option<u16>, took: Duration);
}

/// A call under way. Also one that is given up on is told of.
struct Observed<'a> {
    observer: Option<&'a dyn Observer>,
    operation: Operation,
    since: Instant,
    status: Option<u16>,
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.called(self.operation, self.status, self.since.elapsed());
        }
    }
}

/// The connections of a process: shared by all accounts, so that there is one pool for each scheme.
#[derive(Clone, Debug)]
pub struct Transport {
    https: reqwest::Client,
    http: reqwest::Client,
    traceparent: Option<fn() -> Option<String>>,
    clocks: Arc<Mutex<Clocks>>,
    observer: Option<Arc<dyn Observer>>,
    request_timeout: Duration,
    /// One permit for each large answer.
    large: Arc<Semaphore>,
}

/// The HTTP library could not be set up.
#[derive(Debug, Error)]
#[error("cannot set up the HTTP client")]
pub struct TransportError(#[from] reqwest::Error);

impl Transport {
    /// Sets up TLS, proxies, timeouts and the pools. Redirects are off: a token goes to the address that was allowed and
    /// to no other.
    pub fn new(options: ClientOptions) -> Result<Self, TransportError> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT.min(options.request_timeout))
                .timeout(options.request_timeout)
                .tcp_nodelay(true)
        };
        // It obeys `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`: a proxy only opens a tunnel, and TLS hides the token from it.
        let https = builder().https_only(true).build()?;
        // Without TLS a proxy would read the token. As it never speaks TLS, it loads no authorities either.
        let http = builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self {
            https,
            http,
            traceparent: options.traceparent,
            clocks: Arc::default(),
            observer: None,
            request_timeout: options.request_timeout,
            large: Arc::new(Semaphore::new(LARGE_ANSWERS)),
        })
    }

    /// The only client that may call this URL.
    fn client_for(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "https" { &self.https } else { &self.http }
    }

    /// Waits for its turn, as long as the call that was sent then may take.
    async fn permit_for_a_large_answer(&self, sent: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        let left = self.request_timeout.saturating_sub(sent.elapsed());
        let permit = timeout(left, Arc::clone(&self.large).acquire_owned()).await;
        // It is never closed.
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            let message = format!(
                "no answer in time: it is larger than {} KiB, and other large answers were read first; a smaller \
                 spec.limits.pageSize makes smaller answers",
                SMALL_BODY_BYTES >> 10
            );
            ApiError::transport(&message, true)
        })
    }

    /// Tells of every call from now on.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// What to add to our time to get that of the server at `base`, as far as its answers have told.
    pub fn clock_offset(&self, base: &Url) -> SignedDuration {
        self.clocks().offset(&base.origin())
    }

    /// The offset of the server whose clock is furthest from ours.
    pub fn farthest_clock_offset(&self) -> SignedDuration {
        self.clocks().farthest_offset()
    }

    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        // What it guards is whole at any time.
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One Upstash account.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    base: Url,
    token: Token,
}

impl Client {
    /// A client for the account behind `token` at `base`, of which only scheme, host and port count.
    pub fn new(transport: Transport, base: Url, token: Token) -> Self {
        Self { transport, base, token }
    }

    /// Sends one call and reads its answer.
    ///
    /// # Errors
    /// A [`RequestError`] when the call cannot be sent at all; else what [`response::read`] and the connection say.
    pub async fn send(&self, call: &Call, now: Timestamp) -> Result<Result<Page, ApiError>, RequestError> {
        let request = request::build(call)?;
        let operation = call.operation();
        let observer = self.transport.observer.as_deref();
        let mut told = Observed { observer, operation, since: Instant::now(), status: None };
        let answer = self.exchange(call, request, now).await;
        told.status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        drop(told);
        let answer = answer.and_then(|Answer { status, headers, body, permit }| {
            let page = response::read(operation, status, &headers, &body, now, &self.token);
            drop(permit);
            page
        });
        let answer = answer
            .map_err(|error| ApiError { may_have_acted: error.may_have_acted && operation.acts(), ..error });
        Ok(answer)
    }

    async fn exchange(
        &self,
        call: &Call,
        request: request::Request,
        now: Timestamp,
    ) -> Result<Answer, ApiError> {
        let mut url = self.base.clone();
        url.set_path(&request.path);
        url.set_query(Some(request.query.as_str()).filter(|query| !query.is_empty()));
        // A body of no bytes, said aloud: some proxies refuse a POST without a length.
        let client = self.transport.client_for(&url);
        let mut builder = client.request(request.method, url).header(header::CONTENT_LENGTH, 0);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = self.token.authorization() {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if let Some(traceparent) = self.transport.traceparent.and_then(|traceparent| traceparent()) {
            builder = builder.header("traceparent", traceparent);
        }
        let sent = Instant::now();
        let mut answer = builder.send().await.map_err(|error| transport_error(&error))?;
        if let Some(date) = response::date(answer.headers()) {
            let received = now.saturating_add(sent.elapsed()).unwrap_or(now);
            self.transport.clocks().observe(self.base.origin(), date, now, received);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut pruner = Pruner::of(call).filter(|_| status.is_success());
        let (mut body, mut arrived, mut permit) = (Vec::new(), 0, None);
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Answer { status, headers, body, permit }),
                Err(error) if error.is_timeout() && arrived > SMALL_BODY_BYTES => {
                    let message = format!("no more than {} KiB of the answer came in time", arrived >> 10);
                    return Err(ApiError::too_large(&message));
                }
                Err(error) => return Err(transport_error(&error)),
            };
            arrived += chunk.len();
            if !status.is_success() && body.len() + chunk.len() > MAX_REFUSAL_BYTES {
                return Ok(Answer { status, headers, body, permit });
            }
            match &mut pruner {
                Some(pruner) => pruner.push(&chunk, &mut body),
                None => body.extend_from_slice(&chunk),
            }
            if body.len() > MAX_BODY_BYTES {
                let message = format!(
                    "the answer is larger than {} MiB; a smaller spec.limits.pageSize makes smaller answers",
                    MAX_BODY_BYTES >> 20
                );
                return Err(ApiError::too_large(&message));
            }
            if body.len() > SMALL_BODY_BYTES && permit.is_none() {
                permit = Some(self.transport.permit_for_a_large_answer(sent).await?);
            }
        }
    }
}

/// An answer as it came.
struct Answer {
    status: http::StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
    /// Held until the body is dropped, where it is large.
    permit: Option<OwnedSemaphorePermit>,
}

/// Says what happened without the URL, whose query may be long, and whether the request can have reached the server.
fn transport_error(error: &reqwest::Error) -> ApiError {
    let sent = !error.is_connect() && !error.is_builder();
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the call failed"
    };
    let causes = std::error::Error::source(error).map(with_causes);
    let message = [what].into_iter().chain(causes.as_deref()).collect::<Vec<_>>().join(": ");
    ApiError::transport(&message, sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use crate::types::{Criteria, Detail};

    #[test]
    fn a_client_prints_no_token() {
        let transport = Transport::new(ClientOptions::new(Duration::from_secs(1))).unwrap();
        let base = Url::parse("https://qstash.upstash.io").unwrap();
        let client = Client::new(transport, base, Token::parse("a-token-of-its-own").unwrap());
        let shown = format!("{client:?} {client:#?}");
        assert!(shown.contains("qstash.upstash.io") && !shown.contains("a-token-of-its-own"), "{shown}");
    }
    #[test]
    fn only_calls_over_tls_may_use_a_proxy() {
        let transport = Transport::new(ClientOptions::new(Duration::from_secs(1))).unwrap();
        let may_use_a_proxy = |url: &str| {
            let client = transport.client_for(&Url::parse(url).unwrap());
            format!("{client:?}").contains("proxies")
        };
        assert!(may_use_a_proxy("https://qstash.upstash.io"));
        assert!(!may_use_a_proxy("http://qstash.upstash.io"));
    }

    /// A server that begins to answer a list, and leaves off after so many bytes.
    async fn slow_server(bytes: usize) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // It reads the call first: an answer to none would break the connection.
            let mut call = [0; 4096];
            tokio::io::AsyncReadExt::read(&mut stream, &mut call).await.unwrap();
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
            let body = format!("{{\"messages\":[{{\"body\":\"{}", "x".repeat(bytes));
            tokio::io::AsyncWriteExt::write_all(&mut stream, (head.to_owned() + &body).as_bytes())
                .await
                .unwrap();
            std::future::pending::<()>().await;
        });
        base
    }

    #[tokio::test]
    async fn a_list_that_does_not_arrive_in_time_is_too_large_once_much_of_it_has_come() {
        for (bytes, class) in [(10, ErrorClass::Unavailable), (2 * SMALL_BODY_BYTES, ErrorClass::TooLarge)] {
            let transport = Transport::new(ClientOptions::new(Duration::from_millis(700))).unwrap();
            let client = Client::new(transport, slow_server(bytes).await, Token::parse("t").unwrap());
            let list =
                Call::List { criteria: Criteria::default(), cursor: None, count: 100, detail: Detail::Brief };
            let error = client.send(&list, Timestamp::UNIX_EPOCH).await.unwrap().unwrap_err();
            assert_eq!((error.class, error.may_have_acted), (class, false), "{error}");
        }
    }

    /// A server that answers one call.
    async fn server(body: &'static str) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut call = [0; 4096];
            tokio::io::AsyncReadExt::read(&mut stream, &mut call).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
        });
        base
    }

    #[tokio::test]
    async fn a_list_has_the_responses_of_its_entries_only_if_it_is_read_for_them() {
        let answer = r#"{"messages":[{"dlqId":"a","responseHeader":{"A":["b"]},"responseBody":"c"}]}"#;
        for (detail, headers, body) in
            [(Detail::Brief, 0, None), (Detail::Headers, 1, None), (Detail::Response, 1, Some("c"))]
        {
            let transport = Transport::new(ClientOptions::new(Duration::from_secs(5))).unwrap();
            let client = Client::new(transport, server(answer).await, Token::parse("t").unwrap());
            let list = Call::List { criteria: Criteria::default(), cursor: None, count: 100, detail };
            let page = client.send(&list, Timestamp::UNIX_EPOCH).await.unwrap().unwrap();
            let entry = &page.listed[0];
            assert_eq!((entry.response_headers.len(), entry.response_body.as_deref()), (headers, body));
        }
    }

    #[tokio::test]
    async fn the_client_that_may_use_a_proxy_refuses_calls_without_tls() {
        let transport = Transport::new(ClientOptions::new(Duration::from_secs(1))).unwrap();
        let error = transport.https.get("http://127.0.0.1:1").send().await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
    }
}

//! An elector and an API server that misbehaves on demand, both in this process.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::super::clock::tests::SetClock;
use super::super::clock::{Moment, SystemClock};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Of a lease of a second.
const RETRY_PERIOD: Duration = Duration::from_millis(134);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    /// Says this to everything.
    Says(u16),
    /// There is no such namespace.
    NoNamespace,
    /// Stores what is written, and does not say so.
    Mute,
    /// Neither stores nor answers.
    Dead,
    /// The lease holds a time that cannot be read.
    Garbled,
}

struct ApiServer {
    mood: Mutex<Mood>,
    lease: Mutex<Option<Value>>,
    requests: AtomicUsize,
    /// Turned when a write arrives.
    clock: SetClock,
    write_takes: Mutex<Duration>,
}

impl ApiServer {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(Mood::Well),
            lease: Mutex::default(),
            requests: AtomicUsize::default(),
            clock: SetClock::start(),
            write_takes: Mutex::default(),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn holder(&self) -> Value {
        self.lease
            .lock()
            .unwrap()
            .as_ref()
            .map(|lease| lease["spec"]["holderIdentity"].clone())
            .unwrap_or_default()
    }

    fn client(self: &Arc<Self>) -> kube::Client {
        let answer = |State(server): State<Arc<Self>>, method: Method, body: Bytes| async move {
            server.requests.fetch_add(1, Ordering::SeqCst);
            let answer = server.answer(&method, &body);
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        kube::Client::new(Router::new().fallback(answer).with_state(Arc::clone(self)), "unused")
    }

    fn answer(&self, method: &Method, body: &[u8]) -> Option<Response> {
        let refuse = |code: u16, reason: &str| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": reason, "code": code, "message": reason,
            });
            Some((StatusCode::from_u16(code).unwrap(), status.to_string()).into_response())
        };
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Says(code) => return refuse(code, "Fault"),
            Mood::NoNamespace => return refuse(404, "NotFound"),
            Mood::Dead => return None,
            Mood::Garbled => {
                let lease = json!({ "metadata": {}, "spec": { "renewTime": "9999-12-31T23:59:59.000000Z" } });
                return Some(lease.to_string().into_response());
            }
            Mood::Well | Mood::Mute => {}
        }
        let mut lease = self.lease.lock().unwrap();
        let version = lease.as_ref().map_or(0, |lease| {
            lease["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
        });
        if *method != Method::GET {
            let mut written: Value = serde_json::from_slice(body).unwrap();
            let read =
                written["metadata"]["resourceVersion"].as_str().map_or(0, |read| read.parse().unwrap());
            if read != version {
                return refuse(409, "Conflict");
            }
            written["metadata"]["resourceVersion"] = (version + 1).to_string().into();
            *lease = Some(written);
            self.clock.pass(*self.write_takes.lock().unwrap());
        }
        match &*lease {
            _ if mood == Mood::Mute && *method != Method::GET => None,
            Some(lease) => Some(lease.to_string().into_response()),
            None => refuse(404, "NotFound"),
        }
    }
}

impl Clock for ApiServer {
    fn moment(&self) -> Moment {
        self.clock.moment()
    }
}

/// The log lines of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == message).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn elector(server: &Arc<ApiServer>, seconds: u64, clock: Arc<dyn Clock>) -> Elector {
    let options = LeaseOptions {
        namespace: "ops".to_owned(),
        name: "l".to_owned(),
        identity: "pod/1f".to_owned(),
        duration: Duration::from_secs(seconds),
    };
    Elector::new(server.client(), options, clock)
}

/// An elector with a lease of a second, at work.
fn start(server: &Arc<ApiServer>) -> (Leadership, CancellationToken, tokio::task::JoinHandle<()>) {
    let elector = elector(server, 1, Arc::new(SystemClock::start()));
    let (leadership, stop) = (elector.leadership(), CancellationToken::new());
    (leadership, stop.clone(), tokio::spawn(elector.run(stop)))
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let since = Instant::now();
    while !met() {
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_term_is_told_with_its_lease_and_holder() {
    let (log, _guard) = Log::capture();
    let server = ApiServer::start();
    let (leadership, stop, task) = start(&server);
    until("it leads", || leadership.term().is_some()).await;
    server.lease.lock().unwrap().as_mut().unwrap()["spec"]["holderIdentity"] = "other/2e".into();
    server.lease.lock().unwrap().as_mut().unwrap()["metadata"]["resourceVersion"] = "99".into();
    until("it is lost", || leadership.term().is_none()).await;
    until("it leads again", || leadership.term().is_some()).await;
    stop.cancel();
    task.await.unwrap();
    assert!(leadership.term().is_none());
    assert_eq!(server.holder(), "");
    for (message, holder, times) in [
        ("became leader", "pod/1f", 2),
        ("lost the lease", "other/2e", 1),
        ("another holds the lease", "other/2e", 1),
        ("released the lease", "pod/1f", 1),
    ] {
        let lines = log.lines(message);
        assert_eq!(lines.len(), times, "{message}");
        for line in lines {
            assert_eq!((&line["lease"], &line["holder"]), (&json!("ops/l"), &json!(holder)), "{message}");
        }
    }
}

#[tokio::test]
async fn a_trouble_is_told_once_with_the_way_out_and_does_not_make_requests_more_frequent() {
    for (mood, way_out) in [
        (Mood::Says(401), "credentials"),
        (Mood::Says(403), "allow the operator to get, create and update leases"),
        (Mood::Says(422), "look at the lease"),
        (Mood::Says(500), "API server"),
        (Mood::Says(429), "API server"),
        (Mood::NoNamespace, "--lease-namespace"),
        (Mood::Garbled, "delete the lease"),
        (Mood::Dead, "API server"),
    ] {
        let (log, _guard) = Log::capture();
        let server = ApiServer::start();
        server.set(mood);
        let since = Instant::now();
        let (leadership, _stop, task) = start(&server);
        until("it has tried often", || server.requests.load(Ordering::SeqCst) >= 6).await;
        assert!(leadership.term().is_none());
        // A try is one request here, or a read and a create.
        assert!(since.elapsed() > RETRY_PERIOD * 2 * 7 / 10, "{mood:?}: too fast: {:?}", since.elapsed());
        let told = log.lines("cannot use the lease; trying again");
        assert_eq!(told.len(), 1, "{mood:?}: {told:?}");
        assert!(told[0]["way_out"].as_str().unwrap().contains(way_out), "{mood:?}: {told:?}");
        assert_eq!((&told[0]["level"], &told[0]["lease"]), (&json!("WARN"), &json!("ops/l")));
        server.set(Mood::Well);
        until("it leads", || leadership.term().is_some()).await;
        until("it says so", || log.lines("the lease can be used again").len() == 1).await;
        task.abort();
    }
}

#[tokio::test]
async fn troubles_that_change_are_told_and_end_the_term_by_the_clock() {
    let (log, _guard) = Log::capture();
    let server = ApiServer::start();
    let (leadership, _stop, task) = start(&server);
    until("it leads", || leadership.term().is_some()).await;
    let term = leadership.term().unwrap();
    server.set(Mood::Says(503));
    term.over().await;
    until("it is told", || log.lines("lost the lease").len() == 1).await;
    server.set(Mood::Says(403));
    until("it is told", || log.lines("cannot use the lease; trying again").len() == 2).await;
    server.set(Mood::Well);
    until("it leads again", || leadership.term().is_some()).await;
    assert!(term.is_over());
    task.abort();
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_proves_nothing_until_another_is_answered() {
    let server = ApiServer::start();
    server.set(Mood::Mute);
    let (leadership, _stop, task) = start(&server);
    until("it was written more than once", || {
        server.lease.lock().unwrap().as_ref().is_some_and(|lease| lease["metadata"]["resourceVersion"] != "1")
    })
    .await;
    assert_eq!(server.holder(), "pod/1f");
    assert!(leadership.term().is_none());
    server.set(Mood::Well);
    until("it leads", || leadership.term().is_some()).await;
    let lease = server.lease.lock().unwrap().clone().unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 0, "it was ours all along");
    task.abort();
}

#[tokio::test]
async fn a_term_counts_from_before_the_request_was_sent() {
    let server = ApiServer::start();
    *server.write_takes.lock().unwrap() = Duration::from_secs(4);
    let mut elector = elector(&server, 15, Arc::<ApiServer>::clone(&server));
    elector.attempt().await;
    let term = elector.leadership().term().unwrap();
    assert_eq!(term.time_for_a_call(), Duration::from_millis(13_500 - 4_000));
    elector.attempt().await;
    assert_eq!(term.time_for_a_call(), Duration::from_millis(13_500 - 4_000));
    *server.write_takes.lock().unwrap() = Duration::from_secs(10);
    elector.attempt().await;
    assert!(term.is_over() && elector.leadership().term().is_none(), "an answer that comes too late");
}

#[tokio::test]
async fn a_term_ends_as_soon_as_the_lease_is_seen_in_other_hands() {
    let server = ApiServer::start();
    let mut elector = elector(&server, 15, Arc::<ApiServer>::clone(&server));
    elector.attempt().await;
    let term = elector.leadership().term().unwrap();
    {
        let mut lease = server.lease.lock().unwrap();
        lease.as_mut().unwrap()["spec"]["holderIdentity"] = "other/2e".into();
        lease.as_mut().unwrap()["metadata"]["resourceVersion"] = "99".into();
    }
    elector.attempt().await;
    assert!(term.is_over(), "though no time has passed");
}

#[tokio::test]
async fn what_cannot_be_released_is_left_to_expire() {
    let (log, _guard) = Log::capture();
    let server = ApiServer::start();
    let elector = elector(&server, 15, Arc::new(SystemClock::start()));
    let (leadership, stop) = (elector.leadership(), CancellationToken::new());
    let task = tokio::spawn(elector.run(stop.clone()));
    until("it leads", || leadership.term().is_some()).await;
    server.set(Mood::Dead);
    let since = Instant::now();
    stop.cancel();
    task.await.unwrap();
    assert!(since.elapsed() < RELEASE_TIMEOUT * 3, "{:?}", since.elapsed());
    assert!(leadership.term().is_none());
    assert_eq!(log.lines("the lease was not released in time; it will expire").len(), 1);
}

#[tokio::test]
async fn the_lease_of_another_is_not_released() {
    let server = ApiServer::start();
    let (leadership, stop, task) = start(&server);
    until("it leads", || leadership.term().is_some()).await;
    stop.cancel();
    {
        // Before its next request: this thread is the elector's too.
        let mut lease = server.lease.lock().unwrap();
        lease.as_mut().unwrap()["spec"]["holderIdentity"] = "other/2e".into();
        lease.as_mut().unwrap()["metadata"]["resourceVersion"] = "99".into();
    }
    task.await.unwrap();
    assert_eq!(server.holder(), "other/2e");
}

#[tokio::test]
async fn a_release_is_tried_again_while_there_is_time() {
    let (log, _guard) = Log::capture();
    let server = ApiServer::start();
    let (leadership, stop, task) = start(&server);
    until("it leads", || leadership.term().is_some()).await;
    server.set(Mood::Says(503));
    let before = server.requests.load(Ordering::SeqCst);
    stop.cancel();
    until("it was refused", || server.requests.load(Ordering::SeqCst) > before).await;
    server.set(Mood::Well);
    task.await.unwrap();
    assert_eq!(server.holder(), "");
    assert_eq!(log.lines("released the lease").len(), 1);
}

#[tokio::test]
async fn who_never_had_the_lease_ends_without_a_request() {
    let (log, _guard) = Log::capture();
    let server = ApiServer::start();
    server.set(Mood::Dead);
    let elector = elector(&server, 15, Arc::new(SystemClock::start()));
    let stop = CancellationToken::new();
    let task = tokio::spawn(elector.run(stop.clone()));
    until("it reads", || server.requests.load(Ordering::SeqCst) == 1).await;
    stop.cancel();
    task.await.unwrap();
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    assert!(log.lines("the lease was not released in time; it will expire").is_empty());
}

#[tokio::test]
async fn a_leader_whose_writes_are_not_answered_finds_them_in_the_lease() {
    let server = ApiServer::start();
    let elector = elector(&server, 6, Arc::new(SystemClock::start()));
    let (leadership, stop) = (elector.leadership(), CancellationToken::new());
    let task = tokio::spawn(elector.run(stop.clone()));
    until("it leads", || leadership.term().is_some()).await;
    let term = leadership.term().unwrap();
    server.set(Mood::Mute);
    let since = Instant::now();
    // Longer than the renew deadline of 4 s.
    until("the time is over", || since.elapsed() > Duration::from_secs(6)).await;
    assert!(!term.is_over());
    server.set(Mood::Well);
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn who_leads_renews_in_the_retry_period_and_others_look_every_second() {
    let server = ApiServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let elector = elector(&server, 15, Arc::new(SystemClock::start()));
    for _ in 0..200 {
        let pause = elector.pause(Duration::ZERO);
        assert!((Duration::from_millis(800)..=Duration::from_secs(1)).contains(&pause), "{pause:?}");
    }
    assert_eq!(elector.pause(Duration::from_secs(5)), Duration::from_millis(100), "a try that took long");
    let sent = elector.terms.sending();
    assert_eq!(elector.terms.renewed(sent), Renewal::Begun);
    for _ in 0..200 {
        let pause = elector.pause(Duration::ZERO);
        assert!((Duration::from_millis(1600)..=Duration::from_secs(2)).contains(&pause), "{pause:?}");
    }
}

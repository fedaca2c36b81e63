//! Publishes Kubernetes events, beside everything else: neither a failure nor a wait reaches a reconcile.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::controller::api::observe::API_TIMEOUT;
use crate::controller::names::{Clock, Subject};
use crate::controller::slots::rights::Rights;
use crate::controller::tell::held::Held;
use crate::controller::tell::series::{AllSeries, Telling};
use dlq_policy::ObjectEvent;
use dlq_upstash::error::printable;

/// The API server takes 1,024 bytes, and a character has at most four.
const MAX_NOTE_CHARS: usize = 256;
/// What the API server takes as the name of a publisher's process, and of an object.
const MAX_INSTANCE: usize = 128;
const MAX_NAME: usize = 253;
/// Where the API server takes events about what is cluster-wide.
const OF_THE_CLUSTER: &str = "default";
const CONTROLLER: &str = "dlq-operator";

/// How many are published at once. Those of one policy follow each other.
const PUBLISHERS: u64 = 4;
/// How many wait for each publisher. What comes when it is full is only logged.
const MOST_WAITING: usize = 1024;
/// How long a publisher waits after a failure: an API server in trouble has more important things to answer.
const AFTER_FAILURE: Duration = Duration::from_millis(250);
/// How long an event is held at most: a run may say that it starts in years, as clocks can be set back.
const LONGEST_HOLD: Duration = Duration::from_secs(5);
/// How long the last ones may take when the process stops.
const FLUSH: Duration = Duration::from_secs(1);

/// Takes events to publish.
pub(crate) struct Events {
    publishers: Vec<(mpsc::Sender<Job>, Lost)>,
    clock: Clock,
}

/// How many events a publisher has lost since its line was full: a log line for each would fill the log when thousands of
/// policies are new.
#[derive(Default)]
struct Lost(AtomicU64);

impl Lost {
    /// Counts an event. What to log: 0 for the first that is lost, and their number once there is room again.
    fn count(&self, is_lost: bool, has_room: bool) -> Option<u64> {
        if is_lost {
            return Some(self.0.fetch_add(1, Ordering::Relaxed)).filter(|before| *before == 0);
        }
        has_room.then(|| self.0.swap(0, Ordering::Relaxed)).filter(|lost| *lost > 0)
    }
}

enum Job {
    Publish(Box<Published>),
    /// Everything before it is done.
    Flush(oneshot::Sender<()>),
}

struct Published {
    about: Subject,
    uid: String,
    told: ObjectEvent,
    /// When it happened: publishing may take its time.
    at: Timestamp,
}

impl Events {
    /// Starts the publishers.
    pub(crate) fn new(client: &kube::Client, clock: Clock, pod: &str, rights: &Arc<Rights>) -> Self {
        let start = |_| {
            let (sender, jobs) = mpsc::channel(MOST_WAITING);
            let instance = beginning(pod, MAX_INSTANCE).to_owned();
            let (client, rights) = (client.clone(), Arc::clone(rights));
            let (series, held) = (AllSeries::default(), Held::default());
            let publisher = Publisher { client, rights, instance, series, held, last: 0 };
            tokio::spawn(publisher.run(jobs));
            (sender, Lost::default())
        };
        Self { publishers: (0..PUBLISHERS).map(start).collect(), clock }
    }

    /// Publishes each event, after what it tells of is written.
    pub(crate) fn publish(&self, about: impl Into<Subject>, uid: &str, events: Vec<ObjectEvent>) {
        if events.is_empty() {
            return;
        }
        let about = about.into();
        let (policy, connection) = (about.policy(), about.connection());
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let index = usize::try_from(hasher.hash_one(uid) % PUBLISHERS).unwrap_or_default();
        let Some((publisher, lost)) = self.publishers.get(index) else { return };
        let at = (self.clock)();
        for told in events {
            if told.reason.is_of_a_run() {
                // The run's own line says it, with its counts.
                debug!(policy, connection, reason = told.reason.as_str(), "{}", printable(&told.text));
            } else {
                info!(policy, connection, reason = told.reason.as_str(), "{}", printable(&told.text));
            }
            let reason = told.reason.as_str();
            let job = Published { about: about.clone(), uid: uid.to_owned(), told, at };
            let is_lost = publisher.try_send(Job::Publish(Box::new(job))).is_err();
            let has_room = publisher.capacity() > MOST_WAITING / 2;
            match lost.count(is_lost, has_room) {
                Some(0) => {
                    warn!(
                        policy,
                        connection,
                        reason,
                        "too many events wait; until some are published, others are only logged"
                    );
                }
                Some(lost) => warn!("events are published again; only logged: {lost}"),
                None => {}
            }
        }
    }

    /// Waits a moment for what is still to be published.
    pub(crate) async fn flush(&self) {
        let flush = async {
            for (publisher, _) in &self.publishers {
                let (done, flushed) = oneshot::channel();
                if publisher.send(Job::Flush(done)).await.is_ok() {
                    // Gone without an answer: there is nothing to wait for.
                    let _ = flushed.await;
                }
            }
        };
        if timeout(FLUSH, flush).await.is_err() {
            warn!("some events are not published");
        }
    }
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Api(kube::Error),
    #[error("no answer in time")]
    Timeout,
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, PublishError> {
    let answer = timeout(API_TIMEOUT, answer).await;
    answer.map_err(|_| PublishError::Timeout)?.map_err(PublishError::Api)
}

/// Publishes the events of some policies, one after the other.
struct Publisher {
    client: kube::Client,
    rights: Arc<Rights>,
    instance: String,
    series: AllSeries,
    held: Held<Box<Published>>,
    /// The number in the last event's name: kubectl shows events in the order of their names.
    last: i128,
}

impl Publisher {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let job = tokio::select! {
                biased;
                published = self.held.next() => Job::Publish(published),
                job = jobs.recv() => match job {
                    Some(Job::Publish(published)) => match self.hold(published) {
                        Some(published) => Job::Publish(published),
                        None => continue,
                    },
                    Some(flush) => flush,
                    None => break,
                },
            };
            match job {
                Job::Publish(published) => {
                    if jobs.len() < MOST_WAITING / 2 {
                        self.rights.let_due_go_first().await;
                    }
                    if !self.publish(*published).await {
                        sleep(AFTER_FAILURE).await;
                    }
                }
                Job::Flush(done) => {
                    for published in self.held.take_all() {
                        self.publish(*published).await;
                    }
                    // The one that asked may have given up.
                    let _ = done.send(());
                }
            }
        }
    }

    /// Keeps an event until its time has come. Gives back what is published now.
    fn hold(&mut self, published: Box<Published>) -> Option<Box<Published>> {
        let Published { uid, told, at, .. } = &*published;
        let wait = told.held_until.and_then(|until| Duration::try_from(until.duration_since(*at)).ok());
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            self.held.hold(uid.clone(), published, wait.min(LONGEST_HOLD));
            return None;
        }
        if told.reason.ends_a_run() {
            self.held.drop_of(uid);
        }
        Some(published)
    }

    /// Publishes one, or counts it; `false` if that failed. It is not tried again.
    async fn publish(&mut self, Published { about, uid, told, at }: Published) -> bool {
        let reason = told.reason.as_str();
        let (policy, connection) = (about.policy(), about.connection());
        let namespace = about.namespace.as_deref().unwrap_or(OF_THE_CLUSTER);
        let events = Api::<Event>::namespaced(self.client.clone(), namespace);
        let mut telling = self.series.count(&uid, &told, Instant::now());
        let mut outcome = Ok(());
        if let Telling::Again { name, count } = &telling {
            outcome = in_time(again(&events, name, *count, at)).await;
            if matches!(&outcome, Err(PublishError::Api(kube::Error::Api(status))) if status.code == 404) {
                // Events are kept for a while only, and anybody may delete them.
                self.series.end(&uid, &told);
                telling = Telling::New;
            }
        }
        match telling {
            Telling::New => {
                let event = self.event(namespace, regarding(&about, &uid), &told, at);
                let name = event.metadata.name.clone().unwrap_or_default();
                outcome = in_time(events.create(&PostParams::default(), &event)).await.map(drop);
                if outcome.is_ok() {
                    self.series.begin(&uid, &told, name, Instant::now());
                }
            }
            Telling::TooMany => warn!(policy, connection, reason, "this object has too many events"),
            Telling::Again { .. } | Telling::Later => {}
        }
        if let Err(error) = &outcome {
            warn!(policy, connection, reason, %error, "cannot publish an event");
        }
        outcome.is_ok()
    }

    fn event(
        &mut self,
        namespace: &str,
        regarding: ObjectReference,
        told: &ObjectEvent,
        at: Timestamp,
    ) -> Event {
        self.last = at.as_nanosecond().max(self.last + 1);
        let name = event_name(regarding.name.as_deref().unwrap_or_default(), self.last);
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(at)),
            type_: Some(if told.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(told.reason.as_str().to_owned()),
            note: Some(told.text.chars().take(MAX_NOTE_CHARS).collect()),
            action: Some("Reconcile".to_owned()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(regarding),
            ..Event::default()
        }
    }
}

/// What an event is about.
fn regarding(about: &Subject, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(dlq_crd::DlqPolicy::api_version(&()).into_owned()),
        kind: Some(about.kind.to_owned()),
        name: Some(about.name.clone()),
        namespace: about.namespace.clone(),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

async fn again(events: &Api<Event>, name: &str, count: i32, at: Timestamp) -> Result<(), kube::Error> {
    let series = EventSeries { count, last_observed_time: MicroTime(at) };
    let patch = Patch::Merge(json!({ "series": series }));
    events.patch(name, &PatchParams::default(), &patch).await.map(drop)
}

/// As Kubernetes' own are named; a policy's name may be as long as an event's.
fn event_name(policy: &str, number: i128) -> String {
    let number = format!("{number:016x}");
    let policy = beginning(policy, MAX_NAME - 1 - number.len());
    format!("{}.{number}", policy.trim_end_matches(['.', '-']))
}

/// The first characters of a name, which is ASCII.
fn beginning(name: &str, length: usize) -> &str {
    name.get(..length).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_told_of_when_that_begins_and_once_there_is_room_again() {
        let lost = Lost::default();
        let told =
            [(false, true), (true, false), (true, false), (false, false), (false, true), (false, true)]
                .map(|(is_lost, has_room)| lost.count(is_lost, has_room));
        assert_eq!(told, [None, Some(0), None, None, Some(2), None]);
    }

    #[test]
    fn the_name_of_an_event_fits_and_sorts_by_time() {
        assert_eq!(event_name("resume", 0x18_7a0f_b2c3_d4e5), "resume.00187a0fb2c3d4e5");
        let long = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        let name = event_name(&long, i128::from(i64::MAX));
        assert_eq!(name, format!("{}.7fffffffffffffff", "a".repeat(235)));
        assert!(name.len() <= MAX_NAME && event_name(&long, 9) < event_name(&long, 10));
    }
}

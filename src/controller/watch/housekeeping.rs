//! Gives every policy a turn when a process begins to lead. Due policies get theirs at once. The others are listed page by
//! page, and each turn uses the listed object instead of reading it. Namespaces take turns, a page each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{ListParams, ObjectList};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::controller::api::observe::API_TIMEOUT;
use crate::controller::context::Context;
use crate::controller::dispatch::Trigger;
use crate::controller::names::PolicyRef;
use crate::controller::watched::Watched;
use crate::controller::watched::class::Class;
use crate::controller::watched::policy::WatchedPolicy;

/// How many policies a page has.
const PAGE: u32 = 100;
/// How often a round looks for policies that became due while they waited for their page.
const LOOK: Duration = Duration::from_secs(1);
/// How often in a row the list of a namespace may fail, and the pause after that. The remaining policies are then read one
/// by one.
const MOST_FAILURES: u32 = 3;
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Gives the policies of a watch their turns.
pub(super) struct Housekeeping {
    pub(super) selector: Option<String>,
    pub(super) watched: Watched,
    pub(super) context: Arc<Context>,
    pub(super) triggers: mpsc::UnboundedSender<Vec<Trigger>>,
}

impl Housekeeping {
    /// Starts a round each time that `begin` yields. A new round replaces the current one.
    pub(super) async fn rounds(self, mut begin: impl Stream<Item = ()> + Unpin) {
        let mut has_begun = begin.next().await;
        while has_begun.is_some() {
            tokio::select! {
                again = begin.next() => has_begun = again,
                () = self.round() => has_begun = begin.next().await,
            }
        }
    }

    async fn round(&self) {
        if !self.leads() {
            return;
        }
        // Another process may have led since these were listed.
        self.context.in_hand.forget_listed(|policy| self.watched.key(policy).is_some());
        let mut owed = Owed::all(&self.watched.store, self.now());
        let mut lists: VecDeque<List> = owed.namespaces().map(List::of).collect();
        while let Some(mut list) = lists.pop_front() {
            let mut room = self.room(&mut owed).await;
            if !self.leads() {
                return;
            }
            match owed.of(&list.namespace) {
                0 => continue,
                // A list would cost as much as a read.
                1 => {
                    for policy in owed.take_all(&list.namespace) {
                        self.let_wait(&policy, None, room.as_mut());
                        self.trigger([policy], Class::Housekeeping);
                    }
                    continue;
                }
                _ => {}
            }
            let has_more = match self.list(&list).await {
                Ok(page) => {
                    list.from = page.metadata.continue_.filter(|from| !from.is_empty());
                    // A page that is listed once more is no progress.
                    if self.hand_out(page.items, &mut owed, room) > 0 {
                        list.failures = 0;
                    }
                    list.from.is_some()
                }
                Err(failed) => {
                    list.failures += 1;
                    match failed {
                        Failed::Expired(anew) => list.from = anew,
                        Failed::NoAnswer => sleep(AFTER_FAILURE).await,
                    }
                    list.failures < MOST_FAILURES
                }
            };
            if has_more {
                lists.push_back(list);
            } else {
                self.trigger(owed.take_all(&list.namespace), Class::Housekeeping);
            }
        }
    }

    /// Waits for the room of a page. What becomes due meanwhile has its turn.
    async fn room(&self, owed: &mut Owed) -> Option<OwnedSemaphorePermit> {
        loop {
            self.trigger(owed.due(self.now()), Class::Due);
            if let Ok(room) = timeout(LOOK, self.context.in_hand.room(PAGE)).await {
                return room;
            }
        }
    }

    /// The next page of a namespace.
    async fn list(&self, list: &List) -> Result<ObjectList<WatchedPolicy>, Failed> {
        let api = Api::namespaced(self.context.client.clone(), &list.namespace);
        let page = ListParams {
            label_selector: self.selector.clone(),
            limit: Some(PAGE),
            continue_token: list.from.clone(),
            ..ListParams::default()
        };
        match timeout(API_TIMEOUT, api.list(&page)).await {
            Ok(Ok(page)) => Ok(page),
            // The continue token has expired. The API server may offer another, which continues from the current state.
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => {
                let anew = status.metadata.and_then(|metadata| metadata.continue_);
                Err(Failed::Expired(anew.filter(|anew| !anew.is_empty())))
            }
            Ok(Err(error)) => {
                warn!(%error, "cannot list the policies");
                Err(Failed::NoAnswer)
            }
            Err(_) => {
                warn!("the API server did not answer the list request in time");
                Err(Failed::NoAnswer)
            }
        }
    }

    /// Asks for the turns of a page's policies, which begin with what the list showed. Returns how many had not been asked
    /// for.
    fn hand_out(
        &self,
        page: Vec<WatchedPolicy>,
        owed: &mut Owed,
        mut room: Option<OwnedSemaphorePermit>,
    ) -> usize {
        let mut policies = Vec::with_capacity(page.len());
        for mut watched in page {
            let policy = ObjectRef::from_obj(&watched);
            if !owed.take(&policy) {
                continue;
            }
            let object = watched.take_object().filter(|_| self.is_current(&policy, &watched));
            self.let_wait(&policy, object.as_deref(), room.as_mut());
            policies.push(policy);
        }
        let count = policies.len();
        self.trigger(policies, Class::Housekeeping);
        count
    }

    /// Gives a policy one of these places until its turn begins.
    fn let_wait(
        &self,
        policy: &PolicyRef,
        object: Option<&RawValue>,
        room: Option<&mut OwnedSemaphorePermit>,
    ) {
        if let Some(place) = room.and_then(|room| room.split(1)) {
            self.context.in_hand.put_listed(policy.clone(), object, place);
        }
    }

    /// Whether the list shows the version that the watch has shown, and this process has written none since.
    fn is_current(&self, policy: &PolicyRef, listed: &WatchedPolicy) -> bool {
        let version = listed.meta().resource_version.as_deref();
        version.is_some_and(|version| self.watched.has_shown(policy, version))
            && self.context.in_hand.is_shown(policy, version)
            && !self.context.memory.is_working(policy)
    }

    fn trigger(&self, policies: impl IntoIterator<Item = PolicyRef>, class: Class) {
        let triggers: Vec<Trigger> = policies.into_iter().map(|policy| (policy, class)).collect();
        if !triggers.is_empty() {
            // The receiver is gone once the process stops.
            let _ = self.triggers.send(triggers);
        }
    }

    fn leads(&self) -> bool {
        self.context.leadership.term().is_some() && !self.context.stop.is_cancelled()
    }

    fn now(&self) -> Timestamp {
        (self.context.clock)()
    }
}

/// A list of a namespace, page by page.
struct List {
    namespace: String,
    /// Where the next page begins; none: at the beginning.
    from: Option<String>,
    /// Consecutive ones.
    failures: u32,
}

impl List {
    fn of(namespace: String) -> Self {
        Self { namespace, from: None, failures: 0 }
    }
}

/// Why there is no page.
enum Failed {
    /// It cannot be continued: where to continue instead, if the API server said so.
    Expired(Option<String>),
    NoAnswer,
}

/// The policies whose turn has not been asked for yet, by namespace, each with the time at which it is due by its status.
struct Owed(HashMap<String, HashMap<PolicyRef, Option<Timestamp>>>);

impl Owed {
    fn all(store: &Store<WatchedPolicy>, now: Timestamp) -> Self {
        let mut all: HashMap<_, HashMap<_, _>> = HashMap::new();
        for watched in store.state() {
            let policy = ObjectRef::from_obj(&*watched);
            let due = match watched.class(now) {
                Class::Due => Some(now),
                Class::Housekeeping | Class::Look => watched.summary().next_run,
            };
            let namespace = policy.namespace.clone().unwrap_or_default();
            all.entry(namespace).or_default().insert(policy, due);
        }
        Self(all)
    }

    /// Takes those that are due.
    fn due(&mut self, now: Timestamp) -> Vec<PolicyRef> {
        let is_due = |_: &PolicyRef, due: &mut Option<Timestamp>| due.is_some_and(|due| due <= now);
        self.0.values_mut().flat_map(|owed| owed.extract_if(is_due)).map(|(policy, _)| policy).collect()
    }

    /// Takes one, if it is among them.
    fn take(&mut self, policy: &PolicyRef) -> bool {
        let owed = self.0.get_mut(policy.namespace.as_deref().unwrap_or_default());
        owed.is_some_and(|owed| owed.remove(policy).is_some())
    }

    fn take_all(&mut self, namespace: &str) -> impl Iterator<Item = PolicyRef> + use<> {
        self.0.remove(namespace).unwrap_or_default().into_keys()
    }

    /// How many there are of a namespace.
    fn of(&self, namespace: &str) -> usize {
        self.0.get(namespace).map_or(0, HashMap::len)
    }

    fn namespaces(&self) -> impl Iterator<Item = String> {
        self.0.keys().cloned()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn policy(name: &str) -> PolicyRef {
        PolicyRef::new(name).within("n")
    }

    fn time(seconds: u8) -> Timestamp {
        format!("2026-11-20T12:00:0{seconds}Z").parse().unwrap()
    }

    fn owed(policies: &[(&str, &str, Option<u8>)]) -> Owed {
        let (store, mut writer) = reflector::store();
        for (namespace, name, next) in policies {
            let watched = json!({
                "metadata": { "name": name, "namespace": namespace, "generation": 1 },
                "status": { "observedGeneration": 1, "nextScheduleTime": next.map(time) },
            });
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(watched).unwrap()));
        }
        Owed::all(&store, time(1))
    }

    #[test]
    fn what_becomes_due_before_its_page_comes_has_its_turn_then_and_none_has_two() {
        let mut owed = owed(&[("n", "late", Some(0)), ("n", "soon", Some(5)), ("n", "never", None)]);
        assert_eq!(owed.due(time(1)), [policy("late")]);
        assert_eq!(owed.due(time(4)), []);
        assert_eq!(owed.due(time(5)), [policy("soon")]);
        assert!(!owed.take(&policy("soon")) && owed.take(&policy("never")) && !owed.take(&policy("never")));
        assert_eq!(owed.of("n"), 0);
    }

    #[test]
    fn namespaces_are_apart() {
        let mut owed = owed(&[("n", "a", None), ("n", "b", None), ("m", "single", None)]);
        assert_eq!((owed.of("n"), owed.of("m"), owed.namespaces().count()), (2, 1, 2));
        assert_eq!(owed.take_all("m").collect::<Vec<_>>(), [PolicyRef::new("single").within("m")]);
        assert_eq!((owed.of("n"), owed.of("m")), (2, 0));
    }
}

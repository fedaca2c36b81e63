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
            // A standby has only to find out what became of its last writes.
            let all = self.watched.store.state().into_iter().map(|watched| ObjectRef::from_obj(&*watched));
            return self.trigger(all.filter(|policy| self.context.memory.is_in_doubt(policy)), Class::Due);
        }
        // Another process may have led since these were listed.
        self.context.in_hand.forget_listed();
        let mut owed = Owed::all(&self.watched.store, self.now());
        self.trigger(owed.due(self.now()), Class::Due);
        self.trigger(owed.take_single(), Class::Housekeeping);
        let mut lists: VecDeque<List> = owed.namespaces().map(List::of).collect();
        while let Some(mut list) = lists.pop_front() {
            let room = self.room(&mut owed).await;
            if !self.leads() {
                return;
            }
            if !owed.has_any(&list.namespace) {
                continue;
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

    /// Lets the policies of a page have their turns, with what the list showed. How many had none before.
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
            if let Some(place) = room.as_mut().and_then(|room| room.split(1)) {
                self.context.in_hand.put_listed(policy.clone(), object.as_deref(), place);
            }
            policies.push(policy);
        }
        let count = policies.len();
        self.trigger(policies, Class::Housekeeping);
        count
    }

    /// Whether what the list showed is what the watch did, and this process has written nothing since.
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

/// How far the list of a namespace is.
struct List {
    namespace: String,
    /// Where the next page begins; none: at the beginning.
    from: Option<String>,
    /// In a row.
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

/// The policies whose turn was not asked for yet, by namespace, and when each is due as far as its status tells.
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

    /// Takes those that are alone in their namespace: a list costs as much as a read.
    fn take_single(&mut self) -> Vec<PolicyRef> {
        let single = self.0.extract_if(|_, owed| owed.len() == 1);
        single.flat_map(|(_, owed)| owed.into_keys()).collect()
    }

    /// Takes one, if it is among them.
    fn take(&mut self, policy: &PolicyRef) -> bool {
        let owed = self.0.get_mut(policy.namespace.as_deref().unwrap_or_default());
        owed.is_some_and(|owed| owed.remove(policy).is_some())
    }

    fn take_all(&mut self, namespace: &str) -> impl Iterator<Item = PolicyRef> + use<> {
        self.0.remove(namespace).unwrap_or_default().into_keys()
    }

    fn has_any(&self, namespace: &str) -> bool {
        self.0.get(namespace).is_some_and(|owed| !owed.is_empty())
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
        assert!(!owed.has_any("n"));
    }

    #[test]
    fn what_is_alone_in_its_namespace_needs_no_list() {
        let mut owed = owed(&[("n", "a", None), ("n", "b", None), ("m", "single", None)]);
        assert_eq!(owed.take_single(), [PolicyRef::new("single").within("m")]);
        assert_eq!(owed.namespaces().collect::<Vec<_>>(), ["n"]);
        assert_eq!(owed.take_all("n").count(), 2);
    }
}

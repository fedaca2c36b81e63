//! The turns of all policies, when a process begins to lead or a watch begins anew. What is due has its turn at once. The
//! others come in pages of a list, and their turns begin with what the list showed: none of them is read by itself, and only
//! a few of them wait at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{ListParams, ObjectList};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
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
/// How many may wait for their turns.
const MOST_WAITING: usize = 200;
/// How often a round looks for policies that became due while they waited for their page.
const LOOK: Duration = Duration::from_secs(1);
/// How often the list may fail in a round, and how long it waits after that. What it did not show is read policy by policy.
const MOST_FAILURES: u32 = 3;
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Gives all policies of a watch their turns.
pub(super) struct Housekeeping {
    pub(super) api: Api<WatchedPolicy>,
    pub(super) selector: Option<String>,
    pub(super) watched: Watched,
    pub(super) context: Arc<Context>,
    pub(super) triggers: mpsc::UnboundedSender<Vec<Trigger>>,
}

impl Housekeeping {
    /// A round each time that `begin` yields. It takes the place of the one before.
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
        let mut owed = Owed::all(&self.watched.store, self.now());
        let waiting = Arc::new(Semaphore::new(MOST_WAITING));
        let (mut from, mut failures) = (None, 0);
        while !owed.0.is_empty() && failures < MOST_FAILURES {
            let room = self.room(&mut owed, &waiting).await;
            if !self.leads() {
                return;
            }
            match self.list(from.take()).await {
                Ok(page) => {
                    from = page.metadata.continue_.filter(|from| !from.is_empty());
                    self.hand_out(page.items, &mut owed, room);
                    if from.is_none() {
                        break;
                    }
                }
                Err(Expired(Some(anew))) => from = Some(anew),
                Err(Expired(None)) => {
                    failures += 1;
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
        self.trigger(owed.0.into_keys(), Class::Housekeeping);
    }

    /// Waits for the room of a page. What becomes due meanwhile has its turn.
    async fn room(&self, owed: &mut Owed, waiting: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            self.trigger(owed.due(self.now()), Class::Due);
            if let Ok(room) = timeout(LOOK, Arc::clone(waiting).acquire_many_owned(PAGE)).await {
                return room.ok();
            }
        }
    }

    /// One page of the list, from where the last one ended.
    async fn list(&self, from: Option<String>) -> Result<ObjectList<WatchedPolicy>, Expired> {
        let page = ListParams {
            label_selector: self.selector.clone(),
            limit: Some(PAGE),
            continue_token: from,
            ..ListParams::default()
        };
        match timeout(API_TIMEOUT, self.api.list(&page)).await {
            Ok(Ok(page)) => Ok(page),
            // It took too long for the API server to remember where the last page ended. What it offers instead shows
            // newer policies from there on.
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => {
                Err(Expired(status.metadata.and_then(|list| list.continue_)))
            }
            Ok(Err(error)) => {
                warn!(%error, "the list of policies failed");
                Err(Expired(None))
            }
            Err(_) => {
                warn!("the API server did not answer with a list of policies in time");
                Err(Expired(None))
            }
        }
    }

    /// Lets the policies of a page have their turns, with what the list showed.
    fn hand_out(&self, page: Vec<WatchedPolicy>, owed: &mut Owed, mut room: Option<OwnedSemaphorePermit>) {
        let mut policies = Vec::with_capacity(page.len());
        for mut watched in page {
            let policy = ObjectRef::from_obj(&watched);
            if !owed.take(&policy) {
                continue;
            }
            let place = room.as_mut().and_then(|room| room.split(1));
            if let (Some(object), Some(place), true) =
                (watched.take_object(), place, self.is_current(&policy, &watched))
            {
                self.context.in_hand.put_listed(policy.clone(), &object, place);
            }
            policies.push(policy);
        }
        self.trigger(policies, Class::Housekeeping);
    }

    /// Whether what the list showed is what the watch did, and nothing was written since.
    fn is_current(&self, policy: &PolicyRef, listed: &WatchedPolicy) -> bool {
        let version = listed.meta().resource_version.as_deref();
        version.is_some_and(|version| self.watched.has_shown(policy, version))
            && self.context.in_hand.is_shown(policy, version)
            && !self.context.memory.is_working(policy)
    }

    fn trigger(&self, policies: impl IntoIterator<Item = PolicyRef>, class: Class) {
        let triggers: Vec<Trigger> = policies.into_iter().map(|policy| (policy, class)).collect();
        if !triggers.is_empty() {
            // Nobody listens once the process stops.
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

/// A list that cannot be continued: where to, if the API server has said.
struct Expired(Option<String>);

/// The policies whose turn was not asked for yet, and when each is due, as far as its status tells.
struct Owed(HashMap<PolicyRef, Option<Timestamp>>);

impl Owed {
    fn all(store: &Store<WatchedPolicy>, now: Timestamp) -> Self {
        let due = |watched: &WatchedPolicy| match watched.class(now) {
            Class::Due => Some(now),
            Class::Housekeeping | Class::Look => watched.summary().next_run,
        };
        let all = store.state();
        Self(all.iter().map(|watched| (ObjectRef::from_obj(&**watched), due(watched))).collect())
    }

    /// Takes those that are due.
    fn due(&mut self, now: Timestamp) -> Vec<PolicyRef> {
        self.0.extract_if(|_, due| due.is_some_and(|due| due <= now)).map(|(policy, _)| policy).collect()
    }

    /// Takes one, if it is among them.
    fn take(&mut self, policy: &PolicyRef) -> bool {
        self.0.remove(policy).is_some()
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

    #[test]
    fn what_becomes_due_before_its_page_comes_has_its_turn_then_and_none_has_two() {
        let (store, mut writer) = reflector::store();
        for (name, next) in [("late", Some("12:00:00")), ("soon", Some("12:00:05")), ("never", None)] {
            let next = next.map(|time| format!("2026-11-20T{time}Z"));
            let watched = json!({
                "metadata": { "name": name, "namespace": "n", "generation": 1 },
                "status": { "observedGeneration": 1, "nextScheduleTime": next },
            });
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(watched).unwrap()));
        }
        let time = |seconds| format!("2026-11-20T12:00:0{seconds}Z").parse::<Timestamp>().unwrap();
        let mut owed = Owed::all(&store, time(1));
        assert_eq!(owed.due(time(1)), [policy("late")]);
        assert_eq!(owed.due(time(4)), []);
        assert_eq!(owed.due(time(5)), [policy("soon")]);
        assert!(!owed.take(&policy("soon")) && owed.take(&policy("never")) && !owed.take(&policy("never")));
        assert!(owed.0.is_empty());
    }
}

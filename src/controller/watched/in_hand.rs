//! Objects as they were last shown, for turns that begin soon: such a turn needs no read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kube::api::{DynamicObject, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::controller::names::{PolicyRef, lock};

/// How much is kept at most. What comes when that is used up is read when its turn comes.
const MOST_BYTES: usize = 4 << 20;
/// How many listed policies wait for their turns at most.
const MOST_LISTED: usize = 200;

/// The objects in hand, each until its policy's next turn. None is older than what this process wrote last: what a write
/// led to is told by what was there before it, and told once.
pub(crate) struct InHand {
    objects: Mutex<Objects>,
    /// Places of listed policies.
    places: Arc<Semaphore>,
}

impl Default for InHand {
    fn default() -> Self {
        Self { objects: Mutex::default(), places: Arc::new(Semaphore::new(MOST_LISTED)) }
    }
}

#[derive(Default)]
struct Objects {
    kept: HashMap<PolicyRef, Kept>,
    bytes: usize,
    /// Versions that this process wrote and the watch has yet to show.
    written: HashMap<PolicyRef, String>,
}

/// An object that is kept.
struct Kept {
    /// None where only the place of a policy is kept.
    text: Option<Box<str>>,
    /// Held while a listed policy waits; released when its turn begins.
    place: Option<OwnedSemaphorePermit>,
}

/// An object that was taken.
pub(crate) struct Taken {
    pub(crate) object: DynamicObject,
    /// Whether a list showed it.
    pub(crate) is_listed: bool,
}

/// An object, in the parts that a turn looks at.
#[derive(Deserialize, Serialize)]
struct Whole<'a> {
    metadata: ObjectMeta,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    status: Option<&'a RawValue>,
}

impl InHand {
    /// This process wrote a version. What the watch shows before it shows that one is older.
    pub(crate) fn wrote(&self, policy: PolicyRef, version: String) {
        lock(&self.objects).written.insert(policy, version);
    }

    /// The watch shows a version. Whether it is as new as what this process wrote last.
    pub(crate) fn is_shown(&self, policy: &PolicyRef, version: Option<&str>) -> bool {
        let written = &mut lock(&self.objects).written;
        let is_awaited = written.get(policy).map(|written| !is_as_new(version, written));
        if is_awaited == Some(false) {
            written.remove(policy);
        }
        is_awaited != Some(true)
    }

    /// Forgets a policy.
    pub(crate) fn forget(&self, policy: &PolicyRef) {
        let mut objects = lock(&self.objects);
        objects.remove(policy);
        objects.written.remove(policy);
    }

    /// Keeps an object in place of the one before, if there is room.
    pub(crate) fn put(&self, policy: PolicyRef, object: &RawValue) {
        self.keep(policy, Some(object), None);
    }

    /// Keeps an object that a list showed; without one, an older object is dropped. The policy holds this place until its
    /// turn begins.
    pub(crate) fn put_listed(
        &self,
        policy: PolicyRef,
        object: Option<&RawValue>,
        place: OwnedSemaphorePermit,
    ) {
        self.keep(policy, object, Some(place));
    }

    /// Waits for this number of places; none once the process ends.
    pub(crate) async fn room(&self, places: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_many_owned(places).await.ok()
    }

    /// Forgets what a list showed of these policies.
    pub(crate) fn forget_listed(&self, are_these: impl Fn(&PolicyRef) -> bool) {
        let objects = &mut *lock(&self.objects);
        let listed = |policy: &PolicyRef, kept: &mut Kept| kept.place.is_some() && are_these(policy);
        for (_, kept) in objects.kept.extract_if(listed) {
            objects.bytes -= kept.bytes();
        }
    }

    fn keep(&self, policy: PolicyRef, object: Option<&RawValue>, place: Option<OwnedSemaphorePermit>) {
        let text = object.and_then(text);
        let mut objects = lock(&self.objects);
        objects.remove(&policy);
        let room = MOST_BYTES - objects.bytes;
        let kept = Kept { text: text.filter(|text| text.len() <= room), place };
        if kept.text.is_some() || kept.place.is_some() {
            objects.bytes += kept.bytes();
            objects.kept.insert(policy, kept);
        }
    }

    /// Takes a policy's object.
    pub(crate) fn take(&self, policy: &PolicyRef) -> Option<Taken> {
        let kept = lock(&self.objects).remove(policy)?;
        let object = serde_json::from_str(kept.text.as_deref()?).ok()?;
        Some(Taken { object, is_listed: kept.place.is_some() })
    }
}

impl Objects {
    fn remove(&mut self, policy: &PolicyRef) -> Option<Kept> {
        let kept = self.kept.remove(policy)?;
        self.bytes -= kept.bytes();
        Some(kept)
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        self.text.as_deref().map_or(0, str::len)
    }
}

/// Whether a version is as new as another. Those of one resource ascend as numbers.
fn is_as_new(version: Option<&str>, written: &str) -> bool {
    let number = |version: &str| version.parse::<u128>().ok();
    match (version.and_then(number), number(written)) {
        (Some(version), Some(written)) => version >= written,
        _ => version == Some(written),
    }
}

/// An object in the parts that are kept; none of one that cannot be read.
fn text(object: &RawValue) -> Option<Box<str>> {
    let mut whole = serde_json::from_str::<Whole<'_>>(object.get()).ok()?;
    whole.metadata.managed_fields = None;
    serde_json::to_string(&whole).ok().map(String::into_boxed_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(message: &str) -> Box<RawValue> {
        let object = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [{"manager": "kubectl"}]},
            "spec": {"action": "resume"},
            "status": {"message": message},
        });
        RawValue::from_string(object.to_string()).unwrap()
    }

    fn policy(name: &str) -> PolicyRef {
        PolicyRef::new(name).within("n")
    }

    #[test]
    fn an_object_is_taken_once_as_it_was_put_last_and_without_managed_fields() {
        let in_hand = InHand::default();
        in_hand.put(policy("a"), &object("before"));
        in_hand.put(policy("a"), &object("now"));
        let Taken { object: taken, is_listed } = in_hand.take(&policy("a")).unwrap();
        assert!(!is_listed);
        assert_eq!(taken.data, json!({"spec": {"action": "resume"}, "status": {"message": "now"}}));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(taken.metadata.managed_fields, None);
        assert!(in_hand.take(&policy("a")).is_none() && in_hand.take(&policy("b")).is_none());
        assert_eq!(lock(&in_hand.objects).bytes, 0);
    }

    #[test]
    fn what_the_watch_shows_is_older_than_a_write_until_it_shows_that() {
        let in_hand = InHand::default();
        let a = policy("a");
        assert!(in_hand.is_shown(&a, Some("6")));
        in_hand.wrote(a.clone(), "7".to_owned());
        in_hand.wrote(a.clone(), "9".to_owned());
        assert!(!in_hand.is_shown(&a, Some("6")) && !in_hand.is_shown(&a, Some("7")));
        assert!(in_hand.is_shown(&policy("b"), Some("6")));
        assert!(in_hand.is_shown(&a, Some("9")) && in_hand.is_shown(&a, Some("10")));
        in_hand.wrote(a.clone(), "11".to_owned());
        in_hand.forget(&a);
        assert!(in_hand.is_shown(&a, Some("1")));
    }

    #[test]
    fn what_has_no_room_is_not_kept_and_costs_nobody_else_the_room() {
        let in_hand = InHand::default();
        let large = object(&"x".repeat(MOST_BYTES / 3));
        for name in ["a", "b", "c"] {
            in_hand.put(policy(name), &large);
        }
        in_hand.put(policy("d"), &object("small"));
        let has = |name| in_hand.take(&policy(name)).is_some();
        assert_eq!(["a", "b", "c", "d"].map(has), [true, true, false, true]);
    }

    #[tokio::test]
    async fn a_listed_policy_has_its_place_until_its_turn_begins_whether_its_object_is_kept_or_not() {
        let in_hand = InHand::default();
        let all = u32::try_from(MOST_LISTED).unwrap();
        let mut room = in_hand.room(all).await.unwrap();
        in_hand.put(policy("a"), &object("before"));
        for (name, object) in [("a", None), ("b", Some(object("listed"))), ("c", Some(object("listed")))] {
            in_hand.put_listed(policy(name), object.as_deref(), room.split(1).unwrap());
        }
        drop(room);
        let free = || in_hand.places.available_permits();
        assert_eq!(free(), MOST_LISTED - 3);
        assert!(in_hand.take(&policy("a")).is_none(), "what is older goes");
        assert!(in_hand.take(&policy("b")).unwrap().is_listed);
        assert_eq!(free(), MOST_LISTED - 1);
        in_hand.forget_listed(|kept| *kept == policy("c"));
        assert!(in_hand.take(&policy("c")).is_none());
        assert_eq!((free(), lock(&in_hand.objects).bytes), (MOST_LISTED, 0));
    }
}

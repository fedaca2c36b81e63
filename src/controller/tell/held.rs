//! Events that wait until their run has lasted a while.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

/// What waits, at most one for each policy.
pub(super) struct Held<T> {
    waiting: DelayQueue<(String, T)>,
    keys: HashMap<String, Key>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { waiting: DelayQueue::new(), keys: HashMap::new() }
    }
}

impl<T> Held<T> {
    /// Holds it for so long, in place of what is held for this policy.
    pub(super) fn hold(&mut self, uid: String, event: T, wait: Duration) {
        self.drop_of(&uid);
        let key = self.waiting.insert((uid.clone(), event), wait);
        self.keys.insert(uid, key);
    }

    /// Drops what is held for this policy: its run has ended.
    pub(super) fn drop_of(&mut self, uid: &str) {
        if let Some(key) = self.keys.remove(uid) {
            self.waiting.remove(&key);
        }
    }

    /// The next one that has waited long enough. Cancel safe; pending while none is held.
    pub(super) async fn next(&mut self) -> T {
        match self.waiting.next().await {
            Some(expired) => {
                let (uid, event) = expired.into_inner();
                self.keys.remove(&uid);
                event
            }
            None => std::future::pending().await,
        }
    }

    /// Takes all, however long they have waited.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let keys = std::mem::take(&mut self.keys);
        keys.into_values().map(|key| self.waiting.remove(&key).into_inner().1).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn what_is_held_comes_when_its_time_has_passed_and_not_if_its_run_ended_before() {
        let mut held = Held::default();
        held.hold("a".to_owned(), 1, WAIT);
        held.hold("b".to_owned(), 2, WAIT);
        held.hold("c".to_owned(), 3, WAIT * 2);
        held.drop_of("b");
        held.drop_of("of nobody");
        assert_eq!(held.next().now_or_never(), None);
        assert_eq!((held.next().await, held.next().await), (1, 3));
        assert_eq!(held.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_has_one_held_and_all_can_be_taken_before_their_time() {
        let mut held = Held::default();
        held.hold("a".to_owned(), 1, WAIT);
        held.hold("a".to_owned(), 2, WAIT);
        assert_eq!(held.take_all(), [2]);
        assert_eq!(held.next().now_or_never(), None);
    }
}

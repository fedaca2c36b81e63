//! Looks at what waits in the DLQ, shared: of equal ones with the same account, one is made within an interval, for all policies.

use std::collections::HashMap;
use std::sync::Mutex;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::{SignedDuration, Timestamp};

use crate::controller::names::lock;
use dlq_policy::attempt::{AccountId, Looked};
use dlq_policy::backlog::{Look, due_after};

/// The account, and what is counted.
type Key = (AccountId, String);
type Future = BoxFuture<'static, Looked>;

/// The looks of this process.
#[derive(Default)]
pub(crate) struct Looks(Mutex<HashMap<Key, Known>>);

/// What is known of equal looks.
struct Known {
    /// Nobody makes the look of policies that gave it up.
    under_way: Option<WeakShared<Future>>,
    last: Option<Looked>,
    /// The longest interval that was asked for: what is older is of use to nobody.
    longest: SignedDuration,
}

/// When a look began, as the statuses say it that tell of it.
fn began(looked: &Looked) -> Timestamp {
    match looked {
        Looked::Counted(counted) => counted.observed_time.0,
        Looked::Failed { at } => *at,
    }
}

impl Known {
    fn of_use(&self, interval: SignedDuration, now: Timestamp) -> Option<&Looked> {
        self.last.as_ref().filter(|last| due_after(began(last), interval, now) > now)
    }

    fn under_way(&self) -> Option<Shared<Future>> {
        self.under_way.as_ref().and_then(WeakShared::upgrade)
    }
}

impl Looks {
    /// What an equal look found within the interval, if there was one or is one under way; else what this one finds. A look
    /// that failed stands for those to come, too: a thousand policies must not try one after the other.
    pub(crate) async fn share(
        &self,
        look: Look,
        account: AccountId,
        begin: impl FnOnce(Look) -> Future,
    ) -> Looked {
        let key = (account, look.counted().to_owned());
        let (now, interval) = (look.at(), look.interval());
        let flight = {
            let mut all = lock(&self.0);
            if let Some(known) = all.get_mut(&key) {
                known.longest = known.longest.max(interval);
            }
            let known = all.get(&key);
            if let Some(last) = known.and_then(|known| known.of_use(interval, now)) {
                return last.clone();
            }
            if let Some(flight) = known.and_then(Known::under_way) {
                flight
            } else {
                // What is counted comes and goes with policies.
                all.retain(|_, known| {
                    known.of_use(known.longest, now).is_some() || known.under_way().is_some()
                });
                let flight = begin(look).shared();
                let unknown = Known { under_way: None, last: None, longest: interval };
                all.entry(key.clone()).or_insert(unknown).under_way = flight.downgrade();
                flight
            }
        };
        let looked = flight.await;
        if let Some(known) = lock(&self.0).get_mut(&key)
            && known.last.as_ref().is_none_or(|last| began(last) < began(&looked))
        {
            known.last = Some(looked.clone());
        }
        looked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{join_all, pending};
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use dlq_policy::spec::validate::Source;
    use dlq_policy::{Permissions, validate};

    const START: &str = "2026-11-20T12:00:00.700Z";

    fn after(seconds: i64) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn look(label: &str, interval: &str, seconds: i64) -> Look {
        let spec = json!({ "action": "resume", "filters": { "labels": [label] }, "backlog": { "interval": interval } });
        let spec = serde_json::from_value(spec).unwrap();
        let url = "https://qstash.upstash.io";
        let permissions = Permissions {
            urls: vec![url.parse().unwrap()],
            actions: Vec::new(),
            callback_urls: Vec::new(),
            default_url: url.parse().unwrap(),
            default_connection_namespaces: vec!["team".to_owned()],
            pause_all: false,
            force_dry_run: false,
        };
        let source = Source {
            namespace: "team",
            name: "a",
            generation: 1,
            created: None,
            annotations: &std::collections::BTreeMap::new(),
            spec: Ok(&spec),
            shared: None,
        };
        let backlog = validate(&source, &permissions).backlog.unwrap();
        Look::new(&backlog, SignedDuration::ZERO, after(seconds))
    }

    fn counted(at: Timestamp) -> Looked {
        let at =
            at.round(jiff::TimestampRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Floor));
        Looked::Counted(Box::new(
            serde_json::from_value(json!({ "observedTime": at.unwrap().to_string() })).unwrap(),
        ))
    }

    /// Looks that are counted.
    #[derive(Default)]
    struct Made {
        looks: Looks,
        made: AtomicUsize,
    }

    impl Made {
        async fn ask(&self, look: Look, account: AccountId) -> Looked {
            self.ask_and(look, account, counted).await
        }

        async fn ask_and(&self, look: Look, account: AccountId, found: fn(Timestamp) -> Looked) -> Looked {
            let begin = |look: Look| {
                self.made.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::task::yield_now().await;
                    found(look.at())
                }
                .boxed()
            };
            self.looks.share(look, account, begin).await
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_thousand_policies_that_count_the_same_make_one_look_an_interval() {
        let made = Made::default();
        for round in 0..3 {
            let asked = (0..1000).map(|number| made.ask(look("a", "15m", round * 900 + number % 7), 1));
            let found = join_all(asked).await;
            assert!(found.iter().all(|looked| began(looked) == began(&found[0])));
            // One whose turn comes later finds the same.
            assert_eq!(began(&made.ask(look("a", "15m", round * 900 + 890), 1).await), began(&found[0]));
        }
        assert_eq!(made.made(), 3);
    }

    #[tokio::test]
    async fn the_next_look_is_made_when_a_status_says_that_it_is_due() {
        let made = Made::default();
        made.ask(look("a", "1m", 0), 1).await;
        // The status names the second, which began before the look.
        let due = "2026-11-20T12:01:00Z".parse::<Timestamp>().unwrap().duration_since(after(0));
        assert!(due < SignedDuration::from_mins(1));
        made.ask(look("a", "1m", 59), 1).await;
        assert_eq!(made.made(), 1);
        made.ask(look("a", "1m", 60), 1).await;
        assert_eq!(made.made(), 2);
    }

    #[tokio::test]
    async fn what_another_account_or_filter_counts_is_not_shared_and_a_shorter_interval_looks_sooner() {
        let made = Made::default();
        made.ask(look("a", "15m", 0), 1).await;
        made.ask(look("a", "15m", 1), 2).await;
        made.ask(look("b", "15m", 2), 1).await;
        assert_eq!(made.made(), 3);
        let sooner = made.ask(look("a", "1m", 300), 1).await;
        assert_eq!(made.made(), 4);
        let other = made.ask(look("a", "15m", 900), 1).await;
        assert_eq!((began(&other), made.made()), (began(&sooner), 4), "the last look counts");
    }

    #[tokio::test]
    async fn a_look_that_failed_is_tried_again_by_nobody_within_the_interval() {
        let made = Made::default();
        let fail = |at| Looked::Failed { at };
        for number in 0..50 {
            let looked = made.ask_and(look("a", "15m", number), 1, fail).await;
            assert!(matches!(looked, Looked::Failed { at } if at == after(0)), "{looked:?}");
        }
        assert_eq!(made.made(), 1);
        assert!(matches!(made.ask(look("a", "15m", 900), 1).await, Looked::Counted(_)));
    }

    #[tokio::test]
    async fn a_look_ends_when_the_last_who_waits_for_it_gives_up_and_not_before() {
        let looks = Looks::default();
        let finish = Arc::new(Notify::new());
        let begin = |look: Look| {
            let finish = Arc::clone(&finish);
            async move {
                finish.notified().await;
                counted(look.at())
            }
            .boxed()
        };
        let mut first = Box::pin(looks.share(look("a", "15m", 0), 1, begin));
        let mut second = Box::pin(looks.share(look("a", "15m", 1), 1, |_| panic!("one is under way")));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(first);
        finish.notify_one();
        assert_eq!(began(&second.await), began(&counted(after(0))));

        let mut given_up = Box::pin(looks.share(look("b", "15m", 0), 1, |_| pending().boxed()));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        let again =
            looks.share(look("b", "15m", 5), 1, |look| async move { counted(look.at()) }.boxed()).await;
        assert_eq!(began(&again), began(&counted(after(5))));
    }

    #[tokio::test]
    async fn what_nobody_asks_for_any_more_is_forgotten() {
        let made = Made::default();
        for number in 0..500 {
            made.ask(look(&number.to_string(), "1m", number), 1).await;
            let kept = lock(&made.looks.0).len();
            assert!(kept <= 61, "{kept} are kept");
        }
    }
}

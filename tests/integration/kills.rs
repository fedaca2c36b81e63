//! The leader of two replicas is killed again and again, at any moment, while it drains a DLQ whose API misbehaves.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Fate, Ledger, eventually};

use crate::at_most_once::{Runs, tempt};
use crate::replicas::{FIRST, Replicas, SECOND, lost_calls, lost_to_faults};
use crate::scene::{DLQ, PATIENCE};
use crate::soak::choose_by_seed;

const ENTRIES: usize = 20_000;
const PAGE: usize = 50;

/// So many kills; `make soak` asks for more.
fn kills() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let asked = std::env::var("SOAK_KILLS").ok();
    asked.map_or(20, |kills| kills.parse().expect("SOAK_KILLS is a number"))
}

/// Calls that act and whose answer is lost, calls that are refused for now, and all of them slow.
fn faults() -> Value {
    let some =
        |probability: f64, fault: Value| json!({ "dlq": DLQ, "probability": probability, "fault": fault });
    json!([
        { "dlq": DLQ, "fault": { "latency": { "ms": 5, "jitterMs": 45 } } },
        some(0.01, json!({ "lostAnswer": { "how": "close" } })),
        some(0.01, json!({ "lostAnswer": { "how": "status500" } })),
        some(0.01, json!({ "drop": { "when": "beforeAction" } })),
        some(0.01, json!({ "drop": { "when": "duringBody" } })),
        some(0.02, json!({ "status": { "code": 503 } })),
        some(0.01, json!({ "status": { "code": 429, "headers": { "retry-after": "1" } } })),
    ])
}

/// What the statuses say that was done, against what was done.
#[derive(Debug, Default)]
struct Books {
    runs: i64,
    processed: i64,
    uncertain_pages: i64,
    interruptions: i64,
}

impl Books {
    fn add(&mut self, run: &Value) {
        let count = |field: &str| run[field].as_i64().unwrap();
        assert_eq!(run["result"], "Succeeded", "{run:#}");
        self.runs += 1;
        self.processed += count("processed");
        self.uncertain_pages += count("uncertainPages");
        self.interruptions += count("interruptions");
    }

    /// The counts are exact, or they say what they do not know. Up to so many calls were under way `at_once`.
    fn check(&self, ledger: &Ledger, entries: usize, runs: &Runs, at_once: i64) {
        let temptation = runs.check_all(ledger);
        assert!(temptation.comebacks > ENTRIES / 2, "the comebacks came too late: {temptation:?}");
        let acted_on: BTreeSet<_> = ledger.workflow_runs.iter().map(|run| &run.from_dlq_id).collect();
        assert_eq!(ledger.workflow_runs.len(), acted_on.len(), "an entry was acted on twice");
        assert_eq!(acted_on.len(), entries, "an entry was left");
        // What came back from the last run is left for the next.
        let comebacks: BTreeSet<_> =
            ledger.entries.iter().filter_map(|entry| entry.refailed_as.as_ref()).collect();
        assert!(ledger.with_fate(Fate::InDlq).all(|entry| comebacks.contains(&entry.dlq_id)));
        assert_eq!(ledger.with_fate(Fate::InDlq).count(), ENTRIES);
        let unknown = i64::try_from(entries).unwrap() - self.processed;
        assert!(unknown >= 0, "more counted than done: {self:?}");
        // A call whose answer was lost acted on a page at most; a process that died knew of the page under way, and of one
        // whose checkpoint was.
        let page = i64::try_from(PAGE).unwrap();
        assert!(
            unknown <= page * (self.uncertain_pages + 2 * at_once * self.interruptions),
            "{unknown} unsaid: {self:?}"
        );
        // A process that died may have had a call under way that counts as lost, and knew of one that was, before it
        // could write it down.
        let known = |count: usize| i64::try_from(count).unwrap();
        let (lost, to_faults) = (known(lost_calls(ledger).count()), known(lost_to_faults(ledger)));
        let unheard = at_once * self.interruptions;
        let sound = to_faults - unheard..=lost + unheard;
        assert!(
            sound.contains(&self.uncertain_pages),
            "{lost} lost, {to_faults} of them to faults: {self:?}"
        );
        assert!(to_faults > 0, "the faults did not bite");
    }
}

#[tokio::test]
async fn whenever_the_leader_is_killed_nothing_is_acted_on_twice_and_nothing_left() {
    kill_and_drain("kills", 1, kills()).await;
}

#[tokio::test]
async fn whenever_the_leader_of_several_cursors_is_killed_nothing_is_acted_on_twice_and_nothing_left() {
    kill_and_drain("kills-of-several", 8, kills() / 2).await;
}

async fn kill_and_drain(namespace: &str, parallelism: i64, kills: usize) {
    choose_by_seed();
    let mut replicas =
        Replicas::start(namespace, &["--lease-duration=3s", "--checkpoint-interval=100ms"]).await;
    let mut books = Books::default();
    // What a run acts on comes back, for the next one.
    replicas.scene.simulator.generate_spread(DLQ, ENTRIES, 3_600_000).await.unwrap();
    tempt(&replicas.scene.simulator, DLQ).await;
    replicas.scene.simulator.set_faults(&faults()).await.unwrap();
    let limits = json!({ "parallelism": parallelism });
    let spec =
        json!({ "action": "resume", "filters": { "all": true }, "historyLimit": 50, "limits": limits });
    replicas.scene.apply("drain", spec).await;

    let (mut done, mut ended, mut expected) = (0, 0, 0);
    let (mut holders, mut runs) = (BTreeSet::new(), Runs::default());
    while done < kills {
        // Whoever leads has the run, and has got on with it.
        let (status, leader) = at_work(&replicas, ended, &holders).await;
        runs.see(&status);
        if status["currentRun"].is_null() {
            ended += 1;
            replicas.scene.annotate("drain", &[("requestedAt", &format!("{ended}"))]).await;
            continue;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..400))).await;
        let pod = if leader.starts_with(FIRST) { FIRST } else { SECOND };
        replicas.replica(pod).kill().unwrap();
        // Before another can take it over. It may have ended just before.
        let run = replicas.scene.policy("drain").await["status"]["currentRun"].take();
        expected += i64::from(!run.is_null() && run["holder"] == leader.as_str());
        holders.insert(leader);
        replicas.replica(pod).restart(None).await.unwrap();
        done += 1;
    }
    let status = replicas.scene.ran("drain", ended + 1).await;
    runs.see(&status);
    let entries = ENTRIES * usize::try_from(ended + 1).unwrap();
    for run in status["history"].as_array().unwrap() {
        books.add(run);
    }
    #[expect(clippy::print_stdout, reason = "the figures of a soak")]
    {
        println!("{done} kills, {entries} entries: {books:?}");
    }
    books.check(&replicas.ledger().await, entries, &runs, parallelism);
    assert_eq!(books.runs, ended + 1);
    // A pod's name is the same for all its processes: they are told apart by enough digits.
    assert!(holders.iter().all(|holder| holder.rsplit('/').next().unwrap().len() == 16), "{holders:?}");
    // On a busy machine a leader may be too slow for its lease, and lose its run that way.
    let lost = [FIRST, SECOND].map(|pod| replicas.replica(pod).log().matches("lost the lease").count());
    let most = expected + i64::try_from(lost.iter().sum::<usize>()).unwrap();
    assert!((expected..=most).contains(&books.interruptions), "{expected} to {most}: {books:?}");
}

/// Waits until the leader, none of those that were killed, has made progress with the run, or the run has ended.
async fn at_work(replicas: &Replicas, ended: i64, killed: &BTreeSet<String>) -> (Value, String) {
    eventually(PATIENCE, "the leader gets on with the run", async || {
        let status = replicas.scene.policy("drain").await["status"].take();
        if status["totals"]["runs"].as_i64() > Some(ended) {
            return Ok((status, String::new()));
        }
        let holder = status["currentRun"]["holder"].as_str().unwrap_or_default().to_owned();
        let leader = replicas.leader().await;
        if holder != leader || leader.is_empty() {
            return Err(format!("{holder} has the run, {leader} leads"));
        }
        // Its last checkpoint may still arrive.
        if killed.contains(&leader) {
            return Err(format!("{leader} was killed, and its lease has not run out"));
        }
        let pages = status["currentRun"]["pages"].as_i64();
        let later = replicas.scene.policy("drain").await["status"].take();
        if later["currentRun"]["pages"].as_i64() > pages {
            Ok((later, leader))
        } else {
            Err(status.to_string())
        }
    })
    .await
    .unwrap()
}

//! What the statuses say that was done, against what the simulator wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use testbed::{Fate, Ledger, eventually};

use super::{PAGE, policies_of};
use crate::at_most_once::Runs;
use crate::replicas::{Replicas, lost_calls, lost_to_faults};
use crate::scene::{DLQ, PATIENCE};

/// How many calls one account has under way at most: the default of `--max-runs-per-connection`.
const CALLS_AT_ONCE: usize = 16;

/// What a status counts of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    start: i64,
    has_ended: bool,
    processed: i64,
    uncertain: i64,
    interruptions: i64,
}

impl Counts {
    fn of(run: &Value) -> Self {
        let count = |field: &str| run[field].as_i64().unwrap();
        let start = run["startTime"].as_str().unwrap().parse::<Timestamp>().unwrap();
        Self {
            start: start.as_millisecond(),
            has_ended: run.get("completionTime").is_some(),
            processed: count("processed"),
            uncertain: count("uncertainPages"),
            interruptions: count("interruptions"),
        }
    }

    /// Nothing stands in the way of knowing all that the run did.
    fn are_exact(&self) -> bool {
        self.uncertain == 0 && self.interruptions == 0
    }
}

/// All that one policy ever told.
#[derive(Debug, Default)]
struct Told {
    runs: Runs,
    /// By their IDs.
    counts: BTreeMap<String, Counts>,
    /// What the latest status says of all runs together.
    ended: i64,
    processed: i64,
}

/// What the policies told, gathered before their histories forget it.
#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<String, Told>);

impl Statuses {
    pub(super) fn see(&mut self, policies: &[Value]) {
        for policy in policies {
            let (name, status) = (policy["metadata"]["name"].as_str().unwrap(), &policy["status"]);
            let told = self.0.entry(name.to_owned()).or_default();
            told.runs.see(status);
            let history = status["history"].as_array().into_iter().flatten();
            for run in history.chain(status.get("currentRun")) {
                told.counts.insert(run["id"].as_str().unwrap().to_owned(), Counts::of(run));
            }
            if let Some(totals) = status.get("totals") {
                told.ended = totals["runs"].as_i64().unwrap();
                told.processed = totals["processed"].as_i64().unwrap();
            }
        }
    }
}

/// What was stopped, and how.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// How often a process was asked to stop.
    pub(super) clean: usize,
    /// How often a leader was killed.
    pub(super) kills: usize,
    /// The runs whose process left them without a word: of which policy, which run, whose.
    pub(super) left: BTreeSet<[String; 3]>,
}

impl Stops {
    /// Looks at the runs that a process of this pod left, when it is gone and none has taken them over.
    pub(super) fn look(&mut self, policies: &[Value], pod: &str) {
        for policy in policies {
            let run = &policy["status"]["currentRun"];
            let holder = run["holder"].as_str().unwrap_or_default();
            if holder.starts_with(&format!("{pod}/")) {
                let name = policy["metadata"]["name"].as_str().unwrap();
                self.left.insert([name, run["id"].as_str().unwrap(), holder].map(str::to_owned));
            }
        }
    }
}

/// Waits until nothing is left of so many entries, each of which came back once. Meanwhile histories are read.
pub(super) async fn drained(
    replicas: &Replicas,
    added: usize,
    statuses: &mut Statuses,
    read_after: Duration,
) {
    let mut read = Instant::now();
    eventually(PATIENCE * 3, "all is drained", async || {
        if read.elapsed() > read_after {
            statuses.see(&policies_of(replicas).await);
            read = Instant::now();
        }
        // The ledger is long.
        let there = replicas.scene.simulator.entries(DLQ).await.unwrap();
        let there = there["entries"].as_array().expect("what is in the DLQ").len();
        if there > 0 {
            return Err(format!("{there} are left"));
        }
        let ledger = replicas.ledger().await;
        let (left, arrived) = (ledger.with_fate(Fate::InDlq).count(), ledger.entries.len());
        if left == 0 && arrived == 2 * added {
            Ok(())
        } else {
            Err(format!("{left} are left of {arrived}, {added} were added"))
        }
    })
    .await
    .unwrap();
}

/// The ledger of each policy: its calls, and the entries that have its label.
fn by_policy(ledger: Ledger, labels: &BTreeMap<String, String>) -> BTreeMap<String, Ledger> {
    let mut parts = BTreeMap::new();
    for entry in ledger.entries {
        part(&mut parts, &labels[&entry.dlq_id]).entries.push(entry);
    }
    for call in ledger.calls {
        let label = call.query.split('&').find_map(|pair| pair.strip_prefix("label=")).map(str::to_owned);
        if let Some(label) = label {
            part(&mut parts, &label).calls.push(call);
        }
    }
    parts
}

fn part<'a>(parts: &'a mut BTreeMap<String, Ledger>, label: &str) -> &'a mut Ledger {
    let empty = || Ledger { calls: Vec::new(), entries: Vec::new(), workflow_runs: Vec::new() };
    parts.entry(label.to_owned()).or_insert_with(empty)
}

/// Of each run that knows all it did, the ledger says the same: how many runs that are.
fn check_exact_runs(name: &str, told: &Told, ledger: &Ledger) -> usize {
    let mut runs: Vec<_> = told.counts.values().map(|counts| (*counts, 0)).collect();
    runs.sort_by_key(|(counts, _)| counts.start);
    for call in ledger.calls.iter().filter(|call| call.operation == "resume") {
        let index = runs.partition_point(|(counts, _)| counts.start <= call.arrived_at);
        runs[index.checked_sub(1).expect("a run that calls")].1 += i64::try_from(call.dlq_ids.len()).unwrap();
    }
    let exact = runs.iter().filter(|(counts, _)| counts.are_exact());
    exact.inspect(|(counts, done)| assert_eq!(counts.processed, *done, "{name}: {counts:?}")).count()
}

/// Every entry was acted on once, and each policy's counts are exact or say what they do not know.
pub(super) async fn check(
    replicas: &Replicas,
    statuses: &Statuses,
    labels: &BTreeMap<String, String>,
    stops: &Stops,
    most_left: usize,
) -> String {
    let ledger = replicas.ledger().await;
    // What came back has the label that it had.
    let comebacks = ledger.entries.iter().filter_map(|entry| {
        let comeback = entry.refailed_as.clone()?;
        Some((comeback, labels[&entry.dlq_id].clone()))
    });
    let labels: BTreeMap<_, _> = labels.clone().into_iter().chain(comebacks).collect();
    let acted_on: BTreeSet<_> = ledger.workflow_runs.iter().map(|run| run.from_dlq_id.as_str()).collect();
    assert_eq!(ledger.workflow_runs.len(), acted_on.len(), "an entry was acted on twice");
    assert!(acted_on.iter().copied().eq(labels.keys().map(String::as_str)), "an entry was left or invented");
    let (lost, to_faults) = (lost_calls(&ledger).count(), lost_to_faults(&ledger));
    let parts = by_policy(ledger, &labels);
    assert!(parts.keys().all(|name| statuses.0.contains_key(name)), "a call of no policy");
    let (mut runs, mut exact, mut exact_runs, mut uncertain, mut interruptions, mut comebacks) =
        (0, 0, 0, 0, 0, 0);
    for (name, told) in &statuses.0 {
        let count = |count: fn(&Counts) -> i64| told.counts.values().map(count).sum::<i64>();
        let done = parts.get(name).map_or(0, |ledger| ledger.entries.len());
        if let Some(ledger) = parts.get(name) {
            comebacks += told.runs.check_all(ledger).comebacks;
            exact_runs += check_exact_runs(name, told, ledger);
        }
        let ended = told.counts.values().filter(|run| run.has_ended).count();
        assert_eq!(i64::try_from(ended), Ok(told.ended), "{name}: not all its runs were read: {told:#?}");
        let of_ended = told.counts.values().filter(|run| run.has_ended).map(|run| run.processed);
        assert_eq!(of_ended.sum::<i64>(), told.processed, "{name}: its totals are not what its runs did");
        runs += told.ended;
        uncertain += count(|run| run.uncertain);
        interruptions += count(|run| run.interruptions);
        let unknown = count(|run| run.uncertain) + 2 * count(|run| run.interruptions);
        let missing = i64::try_from(done).unwrap() - count(|run| run.processed);
        assert!((0..=unknown * PAGE).contains(&missing), "{name}: {missing} unsaid: {told:#?}");
        exact += usize::from(unknown == 0);
    }
    assert!(comebacks > 0, "nothing came back during a run");
    assert!(exact > 0 && exact_runs > 0, "no policy had a quiet life");
    let known = |count: usize| i64::try_from(count).unwrap();
    assert!(interruptions <= known(most_left), "{interruptions} interruptions, {most_left} runs were left");
    // Who is asked to stop gives up on the calls under way that take too long. Who is killed forgets what it had not
    // written down: a lost call for each of its runs, and one more that it was about to write.
    let most = known(lost + CALLS_AT_ONCE * stops.clean) + interruptions;
    let least = known(to_faults) - 2 * interruptions;
    assert!((least..=most).contains(&uncertain), "{uncertain} uncertain pages, not {least} to {most}");
    assert!(to_faults > 0, "the faults did not bite");
    format!(
        "{} policies, {exact} of them exact, {runs} runs, {exact_runs} of them exact, {} entries, {comebacks} back during a \
         run, {lost} calls lost, {uncertain} pages uncertain, {interruptions} interruptions of {most_left} at most",
        statuses.0.len(),
        labels.len()
    )
}

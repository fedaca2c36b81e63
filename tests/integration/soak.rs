//! A crowd of policies on schedules, for a while: replicas come and go, the API misbehaves, entries fail all the time.
//!
//! A minute of a hundred policies in every test run; `make soak` asks for seven minutes of two
//! thousand, and three at most until all is drained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Entry, Fate, LedgerCall, Process, eventually};

use crate::at_most_once::Runs;
use crate::replicas::{FIRST, Replicas, SECOND, lost_calls, lost_to_faults};
use crate::scene::{DLQ, PATIENCE};

const PAGE: i64 = 50;
/// How many calls one account has under way at most: the default of `--max-runs-per-connection`.
const CALLS_AT_ONCE: usize = 16;
/// How many more files and threads are no leak: as many connections come and go.
const SLACK: u64 = 16;

/// What a process may have in use, in KiB, beside what policies take, and by how much that may grow in a minute.
const AT_REST: u64 = 96 * 1024;
const LOST_A_MINUTE: u64 = 256;
const SETTLING_A_MINUTE: u64 = 8 * 1024;

/// What a soak asks for in the environment.
pub(crate) fn asked(name: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect("a number"))
}

/// Makes a test's random choices those of `SOAK_SEED`, else new ones, and says which, so that they can be made again. How
/// fast the processes are still differs.
pub(crate) fn choose_by_seed() {
    let seed = asked("SOAK_SEED", fastrand::u64(..));
    #[expect(clippy::print_stdout, reason = "people repeat a failure with it")]
    {
        println!("SOAK_SEED={seed}");
    }
    fastrand::seed(seed);
}

fn label(policy: usize) -> String {
    format!("team-{policy:04}")
}

fn faults() -> Value {
    let some =
        |probability: f64, fault: Value| json!({ "dlq": DLQ, "probability": probability, "fault": fault });
    json!([
        { "dlq": DLQ, "fault": { "latency": { "ms": 2, "jitterMs": 20 } } },
        some(0.01, json!({ "lostAnswer": { "how": "close" } })),
        some(0.01, json!({ "drop": { "when": "beforeAction" } })),
        some(0.02, json!({ "status": { "code": 503 } })),
        some(0.01, json!({ "status": { "code": 429, "headers": { "retry-after": "1" } } })),
    ])
}

/// Policies that each drain what carries their label, every ten seconds in a short test and every minute in a long one.
async fn apply(replicas: &Replicas, policies: usize, is_long: bool) {
    let (schedule, jitter) = if is_long { ("* * * * *", "50s") } else { ("@every 10s", "9s") };
    let namespace = replicas.scene.namespace.name();
    let items: Vec<_> = (0..policies)
        .map(|policy| {
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": { "name": label(policy), "namespace": namespace },
                "spec": {
                    "action": "resume", "filters": { "labels": [label(policy)] }, "historyLimit": 50,
                    "schedule": schedule, "jitter": jitter,
                    "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
                },
            })
        })
        .collect();
    replicas.scene.apply_all(items).await;
}

/// What was stopped, and how.
#[derive(Debug, Default)]
struct Stops {
    /// How often a process was asked to stop.
    clean: usize,
    /// The runs whose process left them without a word: of which policy, which run, whose.
    left: BTreeSet<[String; 3]>,
}

impl Stops {
    /// Looks at the runs that a process of this pod left, when it is gone and none has taken them over.
    async fn look(&mut self, replicas: &Replicas, pod: &str) {
        for policy in policies_of(replicas).await {
            let run = &policy["status"]["currentRun"];
            let holder = run["holder"].as_str().unwrap_or_default();
            if holder.starts_with(&format!("{pod}/")) {
                let name = policy["metadata"]["name"].as_str().unwrap();
                self.left.insert([name, run["id"].as_str().unwrap(), holder].map(str::to_owned));
            }
        }
    }
}

async fn policies_of(replicas: &Replicas) -> Vec<Value> {
    let list = replicas.scene.kubectl(&["get", "dlqp", "--output=json"]).await;
    let mut list: Value = serde_json::from_str(&list).unwrap();
    serde_json::from_value(list["items"].take()).unwrap()
}

/// What a process has in use: memory in KiB, open files, threads.
fn in_use(process: &Process) -> Option<[u64; 3]> {
    Some([process.resident_kib().ok()?, process.open_files().ok()?, process.threads().ok()?])
}

/// What was in use, and when.
type Sample = (Instant, [u64; 3]);

fn medians(samples: &[Sample]) -> [u64; 3] {
    [0, 1, 2].map(|index| median(samples.iter().map(|(_, in_use)| in_use[index]).collect()))
}

/// By how many KiB the memory grows in a minute: the median of the last third of the samples against that of the first.
fn growth(samples: &[Sample]) -> u64 {
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let [from, to] = [first, last].map(|samples| medians(samples)[0]);
    let took = samples[samples.len() - third / 2 - 1].0 - samples[third / 2].0;
    to.saturating_sub(from) * 60 / took.as_secs().max(1)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_crowd_keeps_exact_books_and_takes_no_more_memory_over_time() {
    choose_by_seed();
    let policies = usize::try_from(asked("SOAK_POLICIES", 100)).unwrap();
    let length = Duration::from_secs(asked("SOAK_SECONDS", 40));
    let mut replicas = Replicas::start("soak", &["--lease-duration=5s"]).await;
    let scene = &replicas.scene;
    scene.simulator.set_faults(&faults()).await.unwrap();
    // Every workflow run fails once more, while the run that acted on it is still at work, and then succeeds.
    scene.simulator.refail(DLQ, &json!({ "delayMs": 1, "times": 1 })).await.unwrap();
    apply(&replicas, policies, length > Duration::from_secs(300)).await;

    let mut labels = BTreeMap::new();
    let (mut round, mut samples, mut stops) = (0, Vec::new(), Stops::default());
    let began = Instant::now();
    let mut restarted = Instant::now();
    while began.elapsed() < length {
        for _ in 0..5 {
            let policy = fastrand::usize(..policies);
            let entry = Entry { labels: vec![label(policy)], ..Entry::default() };
            let count = fastrand::usize(1..80);
            let ids = replicas.scene.simulator.generate(DLQ, count, &entry).await.unwrap();
            labels.extend(ids.into_iter().map(|id| (id, label(policy))));
        }
        // The second half is quiet, to see the memory of one process over time.
        if began.elapsed() > length / 2 {
            let leader = replicas.leader().await;
            if let Some(pod) = [FIRST, SECOND].into_iter().find(|pod| leader.starts_with(pod)) {
                samples
                    .extend(in_use(replicas.replica(pod).process()).map(|in_use| (Instant::now(), in_use)));
            }
        } else if restarted.elapsed() > Duration::from_secs(10) {
            let pod = if round % 3 == 0 { SECOND } else { FIRST };
            if round % 2 == 0 {
                replicas.replica(pod).terminate().await.unwrap();
                stops.clean += 1;
            } else {
                replicas.replica(pod).kill().unwrap();
            }
            stops.look(&replicas, pod).await;
            replicas.replica(pod).restart(None).await.unwrap();
            (round, restarted) = (round + 1, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    replicas.scene.simulator.clear_faults().await.unwrap();
    eventually(PATIENCE * 3, "all is drained", async || {
        let ledger = replicas.ledger().await;
        let (left, arrived) = (ledger.with_fate(Fate::InDlq).count(), ledger.entries.len());
        if left == 0 && arrived == 2 * labels.len() {
            Ok(())
        } else {
            Err(format!("{left} are left of {arrived}, {} were added", labels.len()))
        }
    })
    .await
    .unwrap();
    for pod in [SECOND, FIRST] {
        assert!(replicas.replica(pod).terminate().await.unwrap().success());
        stops.clean += 1;
    }
    let lost_leases =
        [FIRST, SECOND].map(|pod| replicas.replica(pod).log().matches("lost the lease").count());
    // On a busy machine a leader may be too slow for its lease, and leave its runs that way.
    let most_left = stops.left.len() + policies * lost_leases.iter().sum::<usize>();
    let figures = check_books(&replicas, policies, &labels, &stops, most_left).await;
    assert!(samples.len() > 9, "nothing was measured");
    let growth = growth(&samples);
    let later = samples.split_off(samples.len() / 2);
    let (earlier, later) = (medians(&samples), medians(&later));
    #[expect(clippy::print_stdout, reason = "the figures of a soak")]
    {
        println!(
            "{figures}; {round} restarts; KiB, files, threads {earlier:?}, later {later:?}; {growth} KiB more a minute"
        );
    }
    let ([memory, files, threads], [memory_later, files_later, threads_later]) = (earlier, later);
    assert!(memory > 0 && files > 0 && threads > 0, "nothing was measured");
    // A short soak sees the allocator settle, a long one only what is lost.
    let most = if length > Duration::from_secs(300) { LOST_A_MINUTE } else { SETTLING_A_MINUTE };
    assert!(growth < most, "memory grows by {growth} KiB a minute");
    let at_rest = AT_REST + u64::try_from(policies).unwrap() * 16;
    assert!(memory_later < at_rest, "{memory_later} KiB for {policies} policies, after {memory} KiB");
    assert!(files_later <= files + SLACK, "files are left open: {files}, later {files_later}");
    assert!(threads_later <= threads + SLACK, "threads are left: {threads}, later {threads_later}");
}

/// Every entry was acted on once, and each policy's counts are exact or say what they do not know.
async fn check_books(
    replicas: &Replicas,
    policies: usize,
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
    let mut done: BTreeMap<&str, i64> = BTreeMap::new();
    for label in labels.values() {
        *done.entry(label.as_str()).or_default() += 1;
    }
    let items = policies_of(replicas).await;
    assert_eq!(items.len(), policies);
    let (mut runs, mut exact, mut uncertain, mut interruptions, mut comebacks) = (0, 0, 0, 0, 0);
    for policy in &items {
        let (name, status) = (policy["metadata"]["name"].as_str().unwrap(), &policy["status"]);
        let count = |field: &str| {
            let ended = status["history"].as_array().unwrap().iter();
            ended.chain(status.get("currentRun")).map(|run| run[field].as_i64().unwrap()).sum::<i64>()
        };
        let its_filter = format!("label={name}");
        let is_its = |call: &LedgerCall| call.query.split('&').any(|pair| pair == its_filter);
        comebacks += Runs::of(status).check(&ledger, is_its).comebacks;
        runs += status["totals"]["runs"].as_i64().unwrap();
        uncertain += count("uncertainPages");
        interruptions += count("interruptions");
        let unknown = count("uncertainPages") + 2 * count("interruptions");
        let missing = done.get(name).copied().unwrap_or_default() - count("processed");
        assert!((0..=unknown * PAGE).contains(&missing), "{name}: {missing} unsaid: {status:#}");
        exact += usize::from(unknown == 0);
    }
    assert!(comebacks > 0, "nothing came back during a run");
    assert!(exact > 0, "no policy had a quiet life");
    let known = |count: usize| i64::try_from(count).unwrap();
    assert!(interruptions <= known(most_left), "{interruptions} interruptions, {most_left} runs were left");
    // Who is asked to stop gives up on the calls under way that take too long. Who is killed forgets what it had not
    // written down: a lost call for each of its runs, and one more that it was about to write.
    let (lost, to_faults) = (lost_calls(&ledger).count(), lost_to_faults(&ledger));
    let most = known(lost + CALLS_AT_ONCE * stops.clean) + interruptions;
    let least = known(to_faults) - 2 * interruptions;
    assert!((least..=most).contains(&uncertain), "{uncertain} uncertain pages, not {least} to {most}");
    assert!(to_faults > 0, "the faults did not bite");
    format!(
        "{policies} policies, {exact} of them exact, {runs} runs, {} entries, {comebacks} back during a run, {lost} calls \
         lost, {uncertain} pages uncertain, {interruptions} interruptions of {most_left} at most",
        labels.len()
    )
}

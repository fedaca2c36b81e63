//! A crowd of policies on schedules, for a while: replicas come and go, the API misbehaves, entries fail all the time.
//!
//! A minute of a hundred policies in every test run; `make soak` asks for an hour of two thousand, and six minutes at most
//! until all is drained.

mod books;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Entry, Process};

use self::books::{Statuses, Stops, drained};
use crate::replicas::{FIRST, Replicas, SECOND};
use crate::scene::DLQ;

const PAGE: i64 = 50;
/// How many runs a policy's status keeps.
const HISTORY: u32 = 10;
/// The quiet half has so many parts.
const WINDOWS: usize = 6;
/// How many more files and threads are no leak: as many connections come and go.
const SLACK: u64 = 16;

/// What a process may have in use, in KiB, beside what policies take, and by how much that may grow in a minute.
const AT_REST: u64 = 96 * 1024;
const LOST_A_MINUTE: u64 = 128;
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

/// How long it takes, and what follows from that.
#[derive(Clone, Copy, Debug)]
struct Pace {
    length: Duration,
    /// Between two runs of one policy.
    interval: Duration,
    /// Between two stops of a replica, in the first half.
    restarts: Duration,
    /// Between two looks at what the leader has in use, in the second half.
    samples: Duration,
}

impl Pace {
    fn of(length: Duration, policies: usize) -> Self {
        let policies = u32::try_from(policies).unwrap();
        Self {
            length,
            // Twenty runs a second are what two cores do beside the rest.
            interval: Duration::from_secs(10).max(Duration::from_millis(45) * policies),
            restarts: Duration::from_secs(10).max(length / 120),
            samples: Duration::from_millis(500).max(length / 720),
        }
    }

    fn is_long(self) -> bool {
        self.length > Duration::from_secs(300)
    }

    /// Statuses are read before their histories forget a run.
    fn reads(self) -> Duration {
        self.interval * HISTORY / 2
    }
}

/// Policies that each drain what carries their label.
async fn apply(replicas: &Replicas, policies: usize, pace: Pace) {
    let seconds = pace.interval.as_secs();
    let namespace = replicas.scene.namespace.name();
    let items: Vec<_> = (0..policies)
        .map(|policy| {
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": { "name": label(policy), "namespace": namespace },
                "spec": {
                    "action": "resume", "filters": { "labels": [label(policy)] }, "historyLimit": HISTORY,
                    "schedule": format!("@every {seconds}s"), "jitter": format!("{}s", seconds * 9 / 10),
                    "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
                },
            })
        })
        .collect();
    replicas.scene.apply_all(items).await;
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

/// What the leader has in use over time, of each process that leads.
#[derive(Debug, Default)]
struct Samples(BTreeMap<i32, Vec<Sample>>);

impl Samples {
    async fn take(&mut self, replicas: &mut Replicas) {
        let leader = replicas.leader().await;
        let Some(pod) = [FIRST, SECOND].into_iter().find(|pod| leader.starts_with(pod)) else { return };
        let process = replicas.replica(pod).process();
        let sample = in_use(process).map(|in_use| (Instant::now(), in_use));
        self.0.entry(process.pid()).or_default().extend(sample);
    }

    /// Checks that later no more is in use than before. A short soak sees the allocator settle, a long one only what is
    /// lost.
    fn check(&self, policies: usize, pace: Pace) -> String {
        // On a busy machine another one may lead for a while.
        let samples = self.0.values().max_by_key(|samples| samples.len()).expect("somebody leads");
        assert!(samples.len() > 9, "nothing was measured");
        // The first part is for warming up.
        let samples = &samples[samples.len() / WINDOWS..];
        let growth = growth(samples);
        let windows: Vec<_> = samples.chunks(samples.len().div_ceil(WINDOWS - 1)).collect();
        let peaks: Vec<_> = windows
            .iter()
            .map(|window| window.iter().map(|(_, [memory, ..])| *memory).max().unwrap())
            .collect();
        let (earlier, later) = samples.split_at(samples.len() / 2);
        let (earlier, later) = (medians(earlier), medians(later));
        let figures = format!(
            "KiB, files, threads {earlier:?}, later {later:?}; {growth} KiB more a minute; KiB at most, window by window: \
             {peaks:?}"
        );
        let ([memory, files, threads], [memory_later, files_later, threads_later]) = (earlier, later);
        assert!(memory > 0 && files > 0 && threads > 0, "nothing was measured");
        let most = if pace.is_long() { LOST_A_MINUTE } else { SETTLING_A_MINUTE };
        assert!(growth < most, "memory grows by {growth} KiB a minute: {figures}");
        let at_rest = AT_REST + u64::try_from(policies).unwrap() * 16;
        assert!(memory_later < at_rest, "{memory_later} KiB for {policies} policies: {figures}");
        assert!(files_later <= files + SLACK, "files are left open: {figures}");
        assert!(threads_later <= threads + SLACK, "threads are left: {figures}");
        figures
    }
}

fn medians(samples: &[Sample]) -> [u64; 3] {
    [0, 1, 2].map(|index| median(samples.iter().map(|(_, in_use)| in_use[index]).collect()))
}

/// By how many KiB the memory grows in a minute, from one third of the samples to the next: what is lost grows both times,
/// what is needed once does not.
fn growth(samples: &[Sample]) -> u64 {
    let thirds: Vec<_> = samples.chunks_exact(samples.len() / 3).collect();
    let grown = thirds.windows(2).map(|pair| {
        let took = pair[1][0].0 - pair[0][0].0;
        let [from, to] = [pair[0], pair[1]].map(|samples| medians(samples)[0]);
        to.saturating_sub(from) * 60 / took.as_secs().max(1)
    });
    grown.min().unwrap_or_default()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Stops a replica and starts it again: the leader, every third time the other one, every other time without warning.
async fn restart(replicas: &mut Replicas, round: usize, stops: &mut Stops, statuses: &mut Statuses) {
    let leads = if replicas.leader().await.starts_with(SECOND) { SECOND } else { FIRST };
    let pod = if round.is_multiple_of(3) == (leads == FIRST) { SECOND } else { FIRST };
    if round.is_multiple_of(2) {
        replicas.replica(pod).terminate().await.unwrap();
        stops.clean += 1;
    } else {
        replicas.replica(pod).kill().unwrap();
        stops.kills += usize::from(pod == leads);
    }
    let policies = policies_of(replicas).await;
    stops.look(&policies, pod);
    statuses.see(&policies);
    replicas.replica(pod).restart(None).await.unwrap();
}

#[tokio::test]
async fn a_crowd_keeps_exact_books_and_takes_no_more_memory_over_time() {
    choose_by_seed();
    let policies = usize::try_from(asked("SOAK_POLICIES", 100)).unwrap();
    let pace = Pace::of(Duration::from_secs(asked("SOAK_SECONDS", 40)), policies);
    // A short soak does not wait for long leases to run out.
    let lease = if pace.is_long() { "--lease-duration=15s" } else { "--lease-duration=5s" };
    let mut replicas = Replicas::start("soak", &[lease]).await;
    let scene = &replicas.scene;
    scene.simulator.set_faults(&faults()).await.unwrap();
    // Every workflow run fails once more, while the run that acted on it is still at work, and then succeeds.
    scene.simulator.refail(DLQ, &json!({ "delayMs": 1, "times": 1 })).await.unwrap();
    apply(&replicas, policies, pace).await;

    let mut labels = BTreeMap::new();
    let (mut samples, mut stops, mut statuses) = (Samples::default(), Stops::default(), Statuses::default());
    let (mut round, began) = (0, Instant::now());
    let (mut restarted, mut looked, mut read) = (began, began, began);
    while began.elapsed() < pace.length {
        for _ in 0..if pace.is_long() { 1 } else { 5 } {
            let policy = fastrand::usize(..policies);
            let entry = Entry { labels: vec![label(policy)], ..Entry::default() };
            let count = fastrand::usize(1..80);
            let ids = replicas.scene.simulator.generate(DLQ, count, &entry).await.unwrap();
            labels.extend(ids.into_iter().map(|id| (id, label(policy))));
        }
        // The second half is quiet, to see the memory of one process over time.
        if began.elapsed() > pace.length / 2 {
            if looked.elapsed() > pace.samples {
                samples.take(&mut replicas).await;
                looked = Instant::now();
            }
            if read.elapsed() > pace.reads() {
                statuses.see(&policies_of(&replicas).await);
                read = Instant::now();
            }
        } else if restarted.elapsed() > pace.restarts {
            restart(&mut replicas, round, &mut stops, &mut statuses).await;
            round += 1;
            (restarted, read) = (Instant::now(), Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    replicas.scene.simulator.clear_faults().await.unwrap();
    drained(&replicas, labels.len(), &mut statuses, pace.reads()).await;
    for pod in [SECOND, FIRST] {
        assert!(replicas.replica(pod).terminate().await.unwrap().success());
        stops.clean += 1;
    }
    statuses.see(&policies_of(&replicas).await);
    let lost_leases =
        [FIRST, SECOND].map(|pod| replicas.replica(pod).log().matches("lost the lease").count());
    // On a busy machine a leader may be too slow for its lease, and leave its runs that way.
    let most_left = stops.left.len() + policies * lost_leases.iter().sum::<usize>();
    let books = books::check(&replicas, &statuses, &labels, &stops, most_left).await;
    say(&format!("{books}; {round} restarts, {} of them kills of the leader", stops.kills));
    say(&samples.check(policies, pace));
}

#[expect(clippy::print_stdout, reason = "the figures of a soak")]
fn say(figures: &str) {
    println!("{figures}");
}

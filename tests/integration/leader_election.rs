//! Two candidates for one Lease on the real API server, and what people and networks do to it.

mod candidate;

use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use testbed::{ControlPlane, Namespace, User, eventually};

use crate::cluster::control_plane;
use crate::scene::PATIENCE;
use candidate::Candidate;

const NAME: &str = "the-lease";
const LEASE: Duration = Duration::from_secs(3);
const RETRY_PERIOD: Duration = Duration::from_millis(400);
/// What requests, tasks and looks may add to a time on a busy machine.
const SLACK: Duration = Duration::from_millis(1200);

struct Stage {
    control_plane: &'static ControlPlane,
    namespace: Namespace,
    client: Client,
}

async fn client(kubeconfig: &std::path::Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

impl Stage {
    async fn new() -> Self {
        let control_plane = control_plane().await;
        let namespace = control_plane.namespace("election").await.unwrap();
        Self { client: client(control_plane.kubeconfig()).await, control_plane, namespace }
    }

    fn candidate(&self, identity: &str) -> Candidate {
        Candidate::start(self.client.clone(), self.namespace.name(), identity, 0)
    }

    /// One who leads, and one who stands by and has seen the other's lease.
    async fn leader_and_standby(&self) -> (Candidate, Candidate) {
        let leader = self.candidate("pod-a/01");
        leader.term().await;
        let standby = Candidate::start(self.client.clone(), self.namespace.name(), "pod-b/02", 7200);
        self.renewals(3).await;
        assert!(leader.leads() && !standby.leads());
        (leader, standby)
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        let args: Vec<_> =
            ["--namespace", self.namespace.name()].into_iter().chain(args.iter().copied()).collect();
        self.control_plane.kubectl(&args).await.unwrap().ok().unwrap()
    }

    async fn patch(&self, patch: Value) {
        self.kubectl(&["patch", "lease", NAME, "--type=merge", "--patch", &patch.to_string()]).await;
    }

    /// The lease, as kubectl shows it.
    async fn lease(&self) -> Value {
        serde_json::from_str(&self.kubectl(&["get", "lease", NAME, "--output=json"]).await).unwrap()
    }

    async fn lease_when(&self, what: &str, wished: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let lease = self.lease().await;
            if wished(&lease) { Ok(lease) } else { Err(format!("{lease:#}")) }
        })
        .await
        .unwrap()
    }

    /// Waits until the lease was renewed so many times.
    async fn renewals(&self, count: u32) {
        let mut last = Value::Null;
        for _ in 0..count {
            let lease = self.lease_when("it is renewed", |lease| lease["spec"]["renewTime"] != last).await;
            last = lease["spec"]["renewTime"].clone();
        }
    }
}

/// Waits for a condition, looking so often that no scheduled time of two leaders is likely missed.
async fn until_without_two(one: &Candidate, other: &Candidate, what: &str, mut met: impl FnMut() -> bool) {
    let since = Instant::now();
    while !met() {
        assert!(!(one.leads() && other.leads()), "two lead");
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!(one.leads() && other.leads()), "two lead");
}

#[tokio::test]
async fn one_of_two_leads_however_wrong_their_clocks() {
    let stage = Stage::new().await;
    let name = stage.namespace.name();
    let early = Candidate::start(stage.client.clone(), name, "pod-a/01", -36_000);
    let late = Candidate::start(stage.client.clone(), name, "pod-b/02", 36_000);
    until_without_two(&early, &late, "one leads", || early.leads() || late.leads()).await;
    let (leader, standby) = if early.leads() { (&early, &late) } else { (&late, &early) };
    let term = leader.term().await;
    let since = Instant::now();
    until_without_two(leader, standby, "the lease would be over", || since.elapsed() > LEASE * 2).await;
    assert!(!term.is_over(), "it was renewed all the time");
    let lease = stage.lease().await;
    assert_eq!(lease["spec"]["holderIdentity"], leader.identity.as_str());
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3);
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
}

#[tokio::test]
async fn a_lease_that_is_released_is_taken_at_the_next_try() {
    let stage = Stage::new().await;
    let (mut leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    leader.release().await;
    let released = Instant::now();
    assert!(term.is_over() && !leader.leads());
    until_without_two(&leader, &standby, "the standby leads", || standby.leads()).await;
    assert!(released.elapsed() < RETRY_PERIOD + SLACK, "took {:?}", released.elapsed());
    let lease = stage.lease().await;
    assert_eq!(lease["spec"]["holderIdentity"], "pod-b/02");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_lease_that_is_released_to_nobody_is_free() {
    let stage = Stage::new().await;
    let mut leader = stage.candidate("pod-a/01");
    leader.term().await;
    leader.release().await;
    let lease = stage.lease().await;
    assert!(lease["spec"]["holderIdentity"].as_str().is_none_or(str::is_empty), "{lease:#}");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 1);
    let restarted = Instant::now();
    let next = stage.candidate("pod-a/02");
    next.term().await;
    assert!(restarted.elapsed() < RETRY_PERIOD + SLACK, "took {:?}", restarted.elapsed());
}

#[tokio::test]
async fn a_leader_who_is_frozen_is_replaced_and_knows_when_it_thaws() {
    let stage = Stage::new().await;
    let (leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    let mut gained = standby.leadership.gained();
    assert!(gained.next().now_or_never().is_none());
    leader.freeze();
    let frozen = Instant::now();
    until_without_two(&leader, &standby, "the standby leads", || standby.leads()).await;
    assert!(frozen.elapsed() + RETRY_PERIOD * 2 > LEASE, "too early: {:?}", frozen.elapsed());
    assert!(frozen.elapsed() < LEASE + RETRY_PERIOD + SLACK, "too late: {:?}", frozen.elapsed());
    assert_eq!(gained.next().now_or_never(), Some(Some(())));
    // None of the leader's tasks has run since.
    assert!(term.is_over() && !leader.leads());
    assert_eq!(term.time_for_a_call(), Duration::ZERO);
    leader.thaw();
    let thawed = Instant::now();
    until_without_two(&leader, &standby, "it has tried again", || thawed.elapsed() > RETRY_PERIOD * 4).await;
    assert!(standby.leads() && !leader.leads());
}

#[tokio::test]
async fn a_leader_whose_machine_was_suspended_has_a_new_term_if_the_lease_is_still_its_own() {
    let stage = Stage::new().await;
    let leader = stage.candidate("pod-a/01");
    let term = leader.term().await;
    leader.set_wall_clock_forward(3600);
    assert!(term.is_over(), "the wall clock tells");
    let next = leader.term().await;
    assert!(term.is_over() && !next.is_over());
    assert_eq!(stage.lease().await["spec"]["leaseTransitions"], 0);
}

#[tokio::test]
async fn a_lease_that_is_deleted_comes_back() {
    let stage = Stage::new().await;
    let (leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    let uid = stage.lease().await["metadata"]["uid"].clone();
    stage.kubectl(&["delete", "lease", NAME]).await;
    let lease = async || {
        let output = stage.kubectl(&["get", "lease", "--output=json"]).await;
        let list: Value = serde_json::from_str(&output).unwrap();
        list["items"][0].clone()
    };
    let lease = eventually(PATIENCE, "it is back", async || {
        let lease = lease().await;
        if lease.is_null() { Err("no lease".to_owned()) } else { Ok(lease) }
    });
    let lease = lease.await.unwrap();
    assert_ne!(lease["metadata"]["uid"], uid);
    assert_eq!(lease["spec"]["holderIdentity"], "pod-a/01");
    stage.renewals(3).await;
    assert!(!term.is_over() && !standby.leads());
}

#[tokio::test]
async fn a_lease_that_a_person_gives_to_somebody_else_is_lost() {
    let stage = Stage::new().await;
    let (leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    stage.patch(json!({ "spec": { "holderIdentity": "somebody" } })).await;
    let edited = Instant::now();
    tokio::time::timeout(RETRY_PERIOD + SLACK, term.over()).await.unwrap();
    until_without_two(&leader, &standby, "one leads again", || leader.leads() || standby.leads()).await;
    assert!(
        edited.elapsed() + SLACK / 2 > LEASE,
        "somebody was given too little time: {:?}",
        edited.elapsed()
    );
    assert!(term.is_over());
}

#[tokio::test]
async fn a_lease_that_a_person_gives_to_the_standby_is_not_held_by_two() {
    let stage = Stage::new().await;
    let (leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    stage.patch(json!({ "spec": { "holderIdentity": "pod-b/02" } })).await;
    until_without_two(&leader, &standby, "the leader has lost it", || term.is_over()).await;
    until_without_two(&leader, &standby, "one leads again", || leader.leads() || standby.leads()).await;
}

#[tokio::test]
async fn what_people_write_beside_the_holder_stays_and_disturbs_nobody() {
    let stage = Stage::new().await;
    let (leader, standby) = stage.leader_and_standby().await;
    let term = leader.term().await;
    for round in 0..5 {
        stage.kubectl(&["annotate", "--overwrite", "lease", NAME, &format!("team=payments-{round}")]).await;
        stage.kubectl(&["label", "--overwrite", "lease", NAME, &format!("round={round}")]).await;
        stage.patch(json!({ "spec": { "leaseDurationSeconds": 1 } })).await;
    }
    stage.renewals(3).await;
    let lease = stage.lease().await;
    assert_eq!(lease["metadata"]["annotations"]["team"], "payments-4");
    assert_eq!(lease["metadata"]["labels"]["round"], "4");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3);
    assert!(!term.is_over() && !standby.leads());
}

#[tokio::test]
async fn a_lease_of_another_without_any_times_is_waited_for() {
    let stage = Stage::new().await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": NAME,
            "namespace": stage.namespace.name(),
            "annotations": { "made-by": "hand" },
        },
        "spec": { "holderIdentity": "somebody" },
    });
    stage.control_plane.kubectl_apply(&lease.to_string()).await.unwrap().ok().unwrap();
    let candidate = stage.candidate("pod-a/01");
    let since = Instant::now();
    candidate.term().await;
    assert!(since.elapsed() >= LEASE, "{:?}", since.elapsed());
    let lease = stage.lease().await;
    assert_eq!(lease["metadata"]["annotations"]["made-by"], "hand");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn who_may_not_use_leases_leads_once_it_may() {
    let stage = Stage::new().await;
    let token = stage.control_plane.token(User::Alice).unwrap();
    let alice = stage.control_plane.kubeconfig_for(User::Alice.name(), token).unwrap();
    let candidate = Candidate::start(client(&alice).await, stage.namespace.name(), "pod-a/01", 0);
    let since = Instant::now();
    while since.elapsed() < RETRY_PERIOD * 3 {
        assert!(!candidate.leads());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let verbs = "--verb=get,create,update";
    stage.kubectl(&["create", "role", "leases", verbs, "--resource=leases.coordination.k8s.io"]).await;
    let user = format!("--user={}", User::Alice.name());
    stage.kubectl(&["create", "rolebinding", "leases", "--role=leases", &user]).await;
    candidate.term().await;
}

#[tokio::test]
async fn a_candidate_waits_for_its_namespace() {
    let stage = Stage::new().await;
    let name = format!("{}-later", stage.namespace.name());
    let candidate = Candidate::start(stage.client.clone(), &name, "pod-a/01", 0);
    tokio::time::sleep(RETRY_PERIOD * 2).await;
    assert!(!candidate.leads());
    stage.control_plane.kubectl(&["create", "namespace", &name]).await.unwrap().ok().unwrap();
    candidate.term().await;
}

//! The default values: the whole story of a release, from its installation to its end.

use std::collections::BTreeSet;

use serde_json::json;
use testbed::{AuditedCall, eventually};

use super::release::{NAME, Release};
use super::rights::may;
use super::sharing::{OWN, SHARED, Sharing};
use crate::scene::PATIENCE;

/// The whole contract of the operator with the API server.
const MAY: [&str; 20] = [
    "create coordination.k8s.io/leases",
    "create events.k8s.io/events",
    "get /secrets",
    "get coordination.k8s.io/leases dlq-operator",
    "get dlq-operator.dev/clusterdlqconnections",
    "get dlq-operator.dev/dlqconnections",
    "get dlq-operator.dev/dlqpolicies",
    "list /namespaces",
    "list dlq-operator.dev/clusterdlqconnections",
    "list dlq-operator.dev/dlqconnections",
    "list dlq-operator.dev/dlqpolicies",
    "patch dlq-operator.dev/clusterdlqconnections/status",
    "patch dlq-operator.dev/dlqconnections/status",
    "patch dlq-operator.dev/dlqpolicies/status",
    "patch events.k8s.io/events",
    "update coordination.k8s.io/leases dlq-operator",
    "watch /namespaces",
    "watch dlq-operator.dev/clusterdlqconnections",
    "watch dlq-operator.dev/dlqconnections",
    "watch dlq-operator.dev/dlqpolicies",
];

/// What a call needs to be allowed, as [`MAY`] has it.
fn needs(call: &AuditedCall) -> String {
    let AuditedCall { verb, group, resource, name, .. } = call;
    let name = if resource == "leases" && verb != "create" { format!(" {name}") } else { String::new() };
    format!("{verb} {group}/{resource}{name}")
}

#[tokio::test]
async fn a_default_installation_runs_with_exactly_what_it_may_do() {
    let Some(release) = Release::alone("defaults").await else { return };
    let (home, team) = (release.namespace.name(), release.control_plane.namespace("team").await.unwrap());
    release.install(json!({})).await;
    let pods = release.ready().await;
    assert_eq!(pods.len(), 1, "helm has waited for it");
    confined(pods[0].process(release.node));
    let rights = async |account, namespace| may(release.control_plane, (home, account), namespace).await;
    assert_eq!(rights(NAME, team.name()).await, may_elsewhere());
    assert_eq!(rights(NAME, home).await, MAY);
    assert_eq!(rights("default", home).await, Vec::<String>::new(), "no other pod may do anything");

    // One that is only to wait is read; what an edit brings is not read again.
    let mut at_rest = release.policy(team.name(), "at-rest");
    at_rest["spec"]["schedule"] = json!("0 0 1 1 *");
    release.apply(&at_rest).await;
    // In another namespace than the release's, twice and to the same end, so that an event is written again.
    release.drains(team.name(), "resume", 3).await;
    release.fill(3).await;
    release
        .kubectl_in(team.name(), &["annotate", "dlqpolicy", "resume", "dlq-operator.dev/requestedAt=2"])
        .await;
    assert_eq!(release.ran(team.name(), "resume", 2).await["processed"], 3);

    let places = (home, team.name());
    let mut sharing = Sharing::prepare(release.control_plane, &release.simulator, places).await;
    for object in sharing.objects(release.simulator.api_url()) {
        release.apply(&object).await;
    }
    sharing.edit(release.simulator.api_url()).await;
    for name in [OWN, SHARED] {
        release.ran(team.name(), name, 1).await;
    }

    let mut calls = Vec::new();
    eventually(PATIENCE, "everything that it may do was done", async || {
        calls = release.control_plane.audited(home, NAME).unwrap().unwrap();
        let done: BTreeSet<_> = calls.iter().map(needs).collect();
        MAY.iter().find(|may| !done.contains(**may)).map_or(Ok(()), |may| Err(format!("never: {may}")))
    })
    .await
    .unwrap();
    let beyond: BTreeSet<_> = calls.iter().map(needs).filter(|call| !MAY.contains(&call.as_str())).collect();
    assert!(beyond.is_empty(), "it asks for what is not its own: {beyond:?}");
    let refused: Vec<_> = calls.iter().filter(|call| [401, 403].contains(&call.code)).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    release.helm.run(&["test", NAME, "--namespace", home, "--timeout=60s"]).await.unwrap().ok().unwrap();

    let before = release.ready().await;
    release.upgrade(json!({ "log": { "level": "debug" } })).await;
    let after = release.ready().await;
    assert!(
        after.iter().all(|pod| before.iter().all(|old| old.name() != pod.name())),
        "{before:?} {after:?}"
    );
    release.drains(team.name(), "after-the-upgrade", 4).await;

    release.helm.run(&["uninstall", NAME, "--namespace", home]).await.unwrap().ok().unwrap();
    eventually(PATIENCE, "its pods are gone", async || release.pods().await.is_empty()).await.unwrap();
    assert_eq!(rights(NAME, home).await, Vec::<String>::new());
    assert_eq!(release.read(team.name(), "resume").await["status"]["totals"]["processed"], 6);
}

/// The process of a container is as confined as the chart asks for.
fn confined(process: i32) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
    let status = read("status");
    for line in [
        "Uid:\t65532\t65532\t65532\t65532",
        "Gid:\t65532\t65532\t65532\t65532",
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        // A filter, which is the runtime's own.
        "Seccomp:\t2",
    ] {
        assert!(status.lines().any(|found| found == line), "{line:?} is not in\n{status}");
    }
    let mounts = read("mountinfo");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
}

/// The Lease lies in the release's own namespace alone.
fn may_elsewhere() -> Vec<&'static str> {
    MAY.into_iter().filter(|may| !may.contains("lease")).collect()
}

//! `kubectl dlq explain`: the printed commands do what a drain does.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Value, json};
use testbed::{Entry, Ledger, Simulator};
use tokio::process::Command;

use super::program::{DLQ, Plugin, TOKEN, acting};

const OTHER: &str = "other";
const OTHER_TOKEN: &str = "plugin-token-of-the-other";

/// A command, and how often it is sent at most.
struct Printed {
    command: String,
    most: usize,
}

/// The commands, in their order.
fn commands(explained: &str) -> Vec<Printed> {
    let blocks = explained.split("\n\n").filter(|block| block.contains("curl "));
    let printed = blocks.map(|block| {
        let (comments, command): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with('#'));
        let before =
            comments.iter().find_map(|line| Some(line.split_once(" at most")?.0.trim_end_matches(" times")));
        let most =
            before.map(|before| before.rsplit(' ').next().unwrap().replace("once", "1").parse().unwrap());
        Printed { command: command.join("\n"), most: most.unwrap_or(usize::MAX) }
    });
    printed.collect()
}

/// Runs one command in a shell, as a person who copies it does.
async fn shell(command: &str, token: &str, variables: &[(&str, &str)]) -> Value {
    let output = Command::new("sh")
        .args(["-c", command])
        .env("QSTASH_TOKEN", token)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}\n{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_default()
}

/// Follows what the comments say: a command with a cursor is repeated until an answer has none, one with an ID for each entry that
/// was listed and is chosen. Gives the IDs that were listed.
async fn follow(commands: &[Printed], token: &str, chosen: impl Fn(&Value) -> bool) {
    let (mut cursor, mut listed) = (None::<String>, Vec::<Value>::new());
    for Printed { command, most } in commands {
        if command.contains("$DLQ_ID") {
            for entry in listed.iter().filter(|entry| chosen(entry)) {
                shell(command, token, &[("DLQ_ID", entry["dlqId"].as_str().unwrap())]).await;
            }
            continue;
        }
        let repeats = command.contains("$CURSOR");
        for _ in 0..if repeats { *most } else { 1 } {
            if repeats && cursor.is_none() {
                break;
            }
            let from = cursor.take().unwrap_or_default();
            let answer = shell(command, token, &[("CURSOR", &from)]).await;
            listed.extend(answer["messages"].as_array().into_iter().flatten().cloned());
            cursor = answer["cursor"].as_str().filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        }
    }
}

/// What became of each entry, and what the new workflow runs got. IDs of new workflow runs are random.
fn effect(ledger: &Ledger) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let fates = ledger.entries.iter().map(|entry| (entry.dlq_id.clone(), format!("{:?}", entry.fate)));
    let runs = ledger.workflow_runs.iter().map(|run| {
        let mut run = run.clone();
        run.workflow_run_id.clear();
        format!("{run:?}")
    });
    (fates.collect(), runs.collect())
}

fn entries() -> Vec<Entry> {
    let entry = |number: u64| Entry {
        dlq_id: Some(format!("1795176000{number:03}-0")),
        failed_at: Some(1_795_176_000_000 + i64::try_from(number).unwrap()),
        labels: vec![if number.is_multiple_of(3) { "it's".to_owned() } else { "payments".to_owned() }],
        response_status: Some(if number.is_multiple_of(4) { 404 } else { 500 }),
        retries: Some(1),
        ..Entry::default()
    };
    (0..120).map(entry).collect()
}

/// Runs a policy as the printed commands say in one DLQ, and by a drain in another one with the same entries.
async fn has_the_same_effect(spec: Value, chosen: impl Fn(&Value) -> bool) -> Ledger {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.allow(OTHER_TOKEN, OTHER).await.unwrap();
    for dlq in [DLQ, OTHER] {
        simulator.add(dlq, &entries()).await.unwrap();
    }
    plugin.policy(&spec);
    let explained = plugin.run(&["explain", "-f", "policy.yaml"]).await;
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(simulator.ledger(DLQ).await.unwrap().calls.is_empty(), "nothing is sent");
    follow(&commands(&explained.stdout), OTHER_TOKEN, chosen).await;
    let drained = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
    assert_eq!(drained.code, 0, "{drained:?}");
    let (by_hand, by_drain) = (simulator.ledger(OTHER).await.unwrap(), simulator.ledger(DLQ).await.unwrap());
    assert_eq!(effect(&by_hand), effect(&by_drain), "{}", explained.stdout);
    assert!(!acting(&by_drain).is_empty(), "it did something");
    by_hand
}

#[tokio::test]
async fn the_commands_of_a_resume_do_what_a_drain_does_call_for_call() {
    let spec = json!({
        "action": "resume",
        "filters": { "labels": ["it's", "none"] },
        "overrides": {
            "retries": 3, "delay": "10s", "retryDelay": "(1 + retried) * 1000", "labels": ["retried", "by-hand"],
            "flowControl": { "key": "payments", "parallelism": 5, "rate": 10, "period": "1m" },
            "failureCallback": "https://app.example.com/failed?a=b",
        },
        "limits": { "pageSize": 15 },
    });
    let ledger = has_the_same_effect(spec, |_| true).await;
    assert_eq!(ledger.calls.len(), 3, "40 entries by 15");
}

#[tokio::test]
async fn the_commands_of_a_delete_and_of_a_restart_do_what_a_drain_does() {
    has_the_same_effect(json!({ "action": "delete", "filters": { "labels": ["payments"] } }), |_| true).await;
    has_the_same_effect(json!({ "action": "restart", "filters": { "all": true } }), |_| true).await;
}

#[tokio::test]
async fn the_commands_of_a_policy_with_a_limit_end_where_a_drain_does() {
    for most in [70, 110, 100, 40] {
        let limits = json!({ "maxEntriesPerRun": most, "pageSize": 20 });
        let spec = json!({ "action": "resume", "filters": { "all": true }, "limits": limits });
        assert_eq!(has_the_same_effect(spec, |_| true).await.workflow_runs.len(), most);
    }
}

#[tokio::test]
async fn the_commands_of_a_policy_with_ids_do_what_a_drain_does() {
    let ids: Vec<_> = (0..60).map(|number| format!("1795176000{number:03}-0")).collect();
    has_the_same_effect(json!({ "action": "resume", "filters": { "dlqIds": ids } }), |_| true).await;
    has_the_same_effect(json!({ "action": "resume", "filters": { "dlqIds": ["1795176000007-0"] } }), |_| {
        true
    })
    .await;
    has_the_same_effect(json!({ "action": "delete", "filters": { "dlqIds": ["1795176000007-0"] } }), |_| {
        true
    })
    .await;
}

#[tokio::test]
async fn the_commands_of_a_policy_that_decides_on_each_entry_do_what_a_drain_does() {
    let spec = json!({
        "action": "resume", "filters": { "all": true }, "match": { "responseStatuses": ["5xx"] },
        "loopProtection": { "maxAttempts": 3 }, "overrides": { "labels": ["retried"] },
    });
    let ledger = has_the_same_effect(spec, |entry| entry["responseStatus"] == 500).await;
    assert_eq!(ledger.workflow_runs.len(), 90);
    assert!(ledger.workflow_runs.iter().all(|run| run.labels == ["retried", "dlq-attempt-1"]));
}

#[tokio::test]
async fn explain_needs_no_token() {
    let plugin = Plugin::bare().await.with("QSTASH_TOKEN", "no token at all");
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true } }));
    let ended = plugin.run(&["explain", "-f", "policy.yaml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("https://qstash.upstash.io/v2/workflows/dlq"), "{ended:?}");
    assert!(!ended.stdout.contains(TOKEN));
}

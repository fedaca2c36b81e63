use serde_json::{Value, json};

use super::*;
use crate::account::AccountArgs;
use crate::manifest::Document;

const NOW: &str = "2026-11-30T12:00:00.000Z";

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    account: AccountArgs,
}

fn explained(spec: &Value) -> String {
    let value = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": "one", "namespace": "payments" },
        "spec": spec,
    });
    let document = Document::alone(value);
    let subject = Subject::of_file(vec![document], None, "policy.yaml").unwrap();
    let line = <Line as clap::Parser>::try_parse_from(["dlq"]).unwrap();
    let permissions = line.account.destinations().permissions(&Environment::default(), "payments").unwrap();
    explanation(&subject, &permissions, NOW.parse().unwrap()).unwrap()
}

fn commands(text: &str) -> Vec<&str> {
    text.split("\n\n").filter(|block| block.contains("curl ")).collect()
}

#[test]
fn a_text_is_one_word_of_a_shell_whatever_is_in_it() {
    for (text, expected) in [
        ("plain", "'plain'"),
        ("it's", r"'it'\''s'"),
        ("$(reboot) `reboot` $HOME \\ \"", "'$(reboot) `reboot` $HOME \\ \"'"),
        ("", "''"),
    ] {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn the_token_is_never_part_of_a_command() {
    let text = explained(&json!({ "action": "resume", "filters": { "all": true } }));
    assert!(text.contains("Authorization: Bearer $QSTASH_TOKEN"), "{text}");
}

#[test]
fn a_run_over_pages_has_a_first_request_and_one_that_is_repeated_with_the_cursor() {
    let text = explained(&json!({
        "action": "resume", "filters": { "labels": ["it's"] }, "overrides": { "retryDelay": "(1 + retried) * 1000" },
    }));
    let commands = commands(&text);
    assert_eq!(commands.len(), 2, "{text}");
    assert!(commands[0].contains("--request POST") && !commands[0].contains("$CURSOR"), "{text}");
    assert!(commands[0].contains("'Upstash-Retry-Delay: (1 + retried) * 1000'"), "{text}");
    assert!(commands[0].contains("count=50&toDate=1796040000000&label=it%27s'"), "{text}");
    assert!(commands[1].contains(r#"--get --data-urlencode "cursor=$CURSOR""#), "{text}");
}

#[test]
fn the_last_page_asks_for_what_is_left_of_the_limit() {
    let text = explained(&json!({
        "action": "delete", "filters": { "all": true }, "limits": { "maxEntriesPerRun": 120, "pageSize": 50 },
    }));
    let counts: Vec<_> = commands(&text).iter().map(|command| command.contains("count=20")).collect();
    assert_eq!(counts, [false, false, true], "{text}");
}

#[test]
fn ids_are_named_in_as_many_requests_as_they_need() {
    let ids: Vec<_> = (0..120).map(|number| format!("dlq-{number}")).collect();
    let text = explained(&json!({ "action": "restart", "filters": { "dlqIds": ids } }));
    let commands = commands(&text);
    assert_eq!(commands.len(), 3, "{text}");
    assert!(commands[2].contains("dlqIds=dlq-100") && commands[2].contains("dlqIds=dlq-119"), "{text}");
    let text = explained(&json!({ "action": "resume", "filters": { "dlqIds": ["dlq-1"] } }));
    assert!(text.contains("/v2/workflows/dlq/resume/dlq-1'"), "{text}");
}

#[test]
fn a_run_that_decides_on_entries_lists_them_and_names_those_that_it_acts_on() {
    let text = explained(&json!({
        "action": "resume", "filters": { "all": true }, "match": { "responseStatuses": ["5xx"] },
        "loopProtection": { "maxAttempts": 3 }, "overrides": { "labels": ["retried"] },
    }));
    let commands = commands(&text);
    assert_eq!(commands.len(), 3, "{text}");
    assert!(commands[0].contains("--request GET") && commands[1].contains("$CURSOR"), "{text}");
    assert!(commands[2].contains(r#""dlqIds=$DLQ_ID""#), "{text}");
    assert!(commands[2].contains("'Upstash-Label: retried,dlq-attempt-1'"), "{text}");
}

#[test]
fn what_commands_cannot_show_is_said() {
    let text = explained(&json!({
        "action": "resume", "filters": { "all": true },
        "limits": { "parallelism": 4, "entriesPerSecond": 20, "approvalAbove": 100, "activeDeadlineSeconds": 60 },
    }));
    for limit in ["parallelism", "entriesPerSecond", "approvalAbove", "activeDeadlineSeconds"] {
        assert!(text.contains(&format!("limits.{limit}")), "{limit}: {text}");
    }
    assert_eq!(commands(&text).len(), 2, "{text}");
}

#[test]
fn nothing_of_a_policy_becomes_a_line_of_a_script() {
    let text = explained(&json!({
        "action": "resume", "filters": { "all": true },
        "match": { "expression": "entry.responseStatus == 500 ||\n\'\'\'\ntouch pwned\n\'\'\' == entry.workflowRunId" },
    }));
    assert!(text.contains("touch pwned"), "{text}");
    let is_ours =
        |line: &&str| line.is_empty() || ["# ", "curl ", "  "].iter().any(|start| line.starts_with(start));
    assert!(text.lines().all(|line| is_ours(&line)), "{text}");
}

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const HEAD: &str = "apiVersion: dlq-operator.dev/v1alpha1\nkind: DlqPolicy\nmetadata: { name: a, namespace: payments }\nspec:\n";

/// A policy with the default connection.
fn policy(spec: &str) -> String {
    let lines = spec.lines().map(|line| format!("  {line}\n"));
    format!("{HEAD}{}", lines.collect::<String>())
}

/// Two policies of one account.
fn pair(one: &str, other: &str) -> String {
    format!("{}---\n{}", policy(one), policy(other).replace("name: a,", "name: b,"))
}

fn found_in(text: &str, retention: Option<&str>) -> Vec<Finding> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, text).unwrap();
    let documents = manifest::read(&path).unwrap();
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    lint(&documents, retention.map(|text| duration::parse(text).unwrap()), now).unwrap()
}

/// The findings but for what is only good to know: rule, line, field.
fn problems(text: &str, retention: Option<&str>) -> Vec<(&'static str, usize, String)> {
    let findings = found_in(text, retention).into_iter().filter(|finding| finding.level != Level::Note);
    findings.map(|finding| (finding.rule.id(), finding.line, finding.field)).collect()
}

#[track_caller]
fn assert_finds(text: &str, rule: Rule, line: usize, field: &str) {
    assert_eq!(problems(text, None), [(rule.id(), line, field.to_owned())], "{text}");
}

#[track_caller]
fn assert_finds_nothing(text: &str) {
    assert_eq!(problems(text, None), [], "{text}");
}

#[track_caller]
fn message(text: &str, rule: Rule) -> String {
    let findings = found_in(text, None);
    let found = findings.iter().find(|finding| finding.rule == rule);
    found.unwrap_or_else(|| panic!("{findings:#?}")).message.clone()
}

const RESUME: &str = "action: resume\nfilters:\n  labels: [payments]";

#[test]
fn every_example_lints_without_errors() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let documents = manifest::read(&examples).unwrap();
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    let findings = lint(&documents, None, now).unwrap();
    let errors: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn a_good_policy_has_no_finding() {
    assert_finds_nothing(&policy(RESUME));
    assert_finds_nothing(&policy(&format!(
        "{RESUME}\nloopProtection: {{ maxAttempts: 3 }}\nschedule: '*/15 * * * *'"
    )));
}

#[test]
fn unknown_kinds_and_versions_are_found() {
    let kind = policy(RESUME).replace("kind: DlqPolicy", "kind: DlqPolcy");
    assert_finds(&kind, Rule::UnknownKind, 2, "kind");
    assert!(message(&kind, Rule::UnknownKind).ends_with("did you mean DlqPolicy?"));
    assert_finds(&policy(RESUME).replace("v1alpha1", "v2"), Rule::UnknownVersion, 1, "apiVersion");
    assert_finds(
        &policy(RESUME).replace("dlq-operator.dev", "dlq.dev"),
        Rule::UnknownVersion,
        1,
        "apiVersion",
    );
}

#[test]
fn unknown_fields_are_found_with_what_was_meant() {
    let misspelt = policy(&format!("{RESUME}\n  olderThen: 3d"));
    assert_finds(&misspelt, Rule::UnknownField, 8, "spec.filters.olderThen");
    assert_eq!(message(&misspelt, Rule::UnknownField), "unknown field; did you mean olderThan?");
    let misplaced = policy(&format!("{RESUME}\npageSize: 10"));
    assert_eq!(message(&misplaced, Rule::UnknownField), "unknown field; did you mean spec.limits.pageSize?");
    let unknown = policy(&format!("{RESUME}\n  colour: red"));
    assert!(
        message(&unknown, Rule::UnknownField)
            .starts_with("unknown field; remove it: there are all, callerIps,")
    );
}

#[test]
fn missing_fields_are_found() {
    assert_finds(&policy("action: delete"), Rule::MissingField, 4, "spec.filters");
    assert_finds(&policy(RESUME).replace("name: a, ", ""), Rule::MissingField, 3, "metadata.name");
    assert_finds(&HEAD.replace("spec:\n", ""), Rule::MissingField, 1, "spec");
}

#[test]
fn invalid_values_are_found() {
    let table = [
        ("action: retry\nfilters: { all: true }", 5, "spec.action"),
        ("action: resume\nfilters: [payments]", 6, "spec.filters"),
        ("action: resume\nfilters:\n  labels:\n  - a\n  - a", 9, "spec.filters.labels[1]"),
        ("action: resume\nfilters:\n  labels: []", 7, "spec.filters.labels"),
        ("action: resume\nfilters:\n  labels: ['']", 7, "spec.filters.labels[0]"),
        ("action: resume\nfilters:\n  fromDate: yesterday", 7, "spec.filters.fromDate"),
        ("action: resume\nfilters: { all: true }\nlimits:\n  pageSize: 101", 8, "spec.limits.pageSize"),
        ("action: resume\nfilters: { all: true }\nlimits:\n  pageSize: 1.5", 8, "spec.limits.pageSize"),
        ("action: resume\nfilters: { all: true }\ndryRun: 'true'", 7, "spec.dryRun"),
        (
            "action: resume\nfilters: { all: true }\nschedule: '@hourly'\nconcurrencyPolicy: Allow",
            8,
            "spec.concurrencyPolicy",
        ),
    ];
    for (spec, line, field) in table {
        assert_finds(&policy(spec), Rule::InvalidValue, line, field);
    }
    let known = message(&policy("action: resum\nfilters: { all: true }"), Rule::InvalidValue);
    assert_eq!(known, "\"resum\" is none of resume, restart, delete; did you mean resume?");
}

#[test]
fn broken_rules_are_found_with_the_way_out() {
    let text = policy("action: delete\nfilters: { all: true }\noverrides: { retries: 3 }");
    assert_finds(&text, Rule::BrokenRule, 7, "spec.overrides");
    assert!(message(&text, Rule::BrokenRule).contains("remove overrides, or use resume or restart"));
    assert_finds(&policy("action: delete\nfilters: {}"), Rule::BrokenRule, 6, "spec.filters");
    let comma = policy("action: resume\nfilters:\n  labels: ['a,b']");
    assert_finds(&comma, Rule::BrokenRule, 7, "spec.filters.labels[0]");
    let ages = policy("action: resume\nfilters:\n  newerThan: 1d\n  olderThan: 2d");
    assert_finds(&ages, Rule::BrokenRule, 7, "spec.filters.newerThan");
    let host = policy("action: resume\nfilters:\n  workflowUrls: ['https:///api']");
    assert_finds(&host, Rule::BrokenRule, 7, "spec.filters.workflowUrls[0]");
}

#[test]
fn what_only_the_operator_refuses_is_found() {
    let text = policy(&format!("{RESUME}\nmatch:\n  expression: entry.colour == 'red'"));
    assert_finds(&text, Rule::InvalidSpec, 9, "spec.match.expression");
}

#[test]
fn schedules_and_zones_are_read_as_the_operator_reads_them() {
    let delete = "action: delete\nfilters: { all: true }\n";
    assert_finds(
        &policy(&format!("{delete}schedule: '61 * * * *'")),
        Rule::InvalidSchedule,
        7,
        "spec.schedule",
    );
    let zone = policy(&format!("{delete}schedule: '@hourly'\ntimeZone: Europe/Atlantis"));
    assert_finds(&zone, Rule::InvalidTimeZone, 8, "spec.timeZone");
    let next =
        message(&policy(&format!("{delete}schedule: '0 8 * * *'\ntimeZone: Europe/Berlin")), Rule::NextRuns);
    assert!(
        next.starts_with("runs next at Sat 2026-11-21 08:00:00 CET, Sun 2026-11-22 08:00:00 CET, "),
        "{next}"
    );
    assert_eq!(next.matches("08:00:00").count(), 5);
}

#[test]
fn a_loop_is_found_unless_something_ends_it() {
    let scheduled = format!("{RESUME}\nschedule: '@hourly'");
    assert_finds(&policy(&scheduled), Rule::PossibleLoop, 8, "spec.schedule");
    assert!(message(&policy(&scheduled), Rule::PossibleLoop).contains("set spec.loopProtection"));
    assert_finds_nothing(&policy(&format!("{scheduled}\nloopProtection: {{ maxAttempts: 3 }}")));
    assert_finds_nothing(&policy(&scheduled.replace("resume", "delete")));
    assert_finds_nothing(&policy(&format!("{scheduled}\ndryRun: true")));
}

#[test]
fn a_url_that_is_not_upstashs_is_found() {
    let connection = |url: &str| {
        policy(&format!("{RESUME}\nconnection:\n  url: {url}\n  tokenSecretRef: {{ name: upstash }}"))
    };
    assert_finds(&connection("https://collect.example.com"), Rule::UrlNotAllowed, 9, "spec.connection.url");
    assert_finds_nothing(&connection("https://qstash-us-east-1.upstash.io"));
}

#[test]
fn guardrails_of_a_connection_among_the_files_are_checked() {
    let connection = "apiVersion: dlq-operator.dev/v1alpha1\nkind: DlqConnection\nmetadata: { name: shared, namespace: payments }\n\
        spec:\n  tokenSecretRef: { name: upstash }\n  allowedActions: [resume]\n---\n";
    let named = |action: &str| {
        policy(&format!("{}\nconnection: {{ name: shared }}", RESUME.replace("resume", action)))
    };
    assert_finds(&format!("{connection}{}", named("delete")), Rule::GuardrailViolated, 12, "spec.action");
    assert_finds_nothing(&format!("{connection}{}", named("resume")));
    let elsewhere = found_in(&named("delete"), None);
    let found: Vec<_> = elsewhere.iter().map(|finding| (finding.rule, finding.level)).collect();
    assert_eq!(found, [(Rule::ConnectionElsewhere, Level::Note)]);
}

#[test]
fn a_cluster_connection_that_serves_no_policy_is_found() {
    let closed = "apiVersion: dlq-operator.dev/v1alpha1\nkind: ClusterDlqConnection\nmetadata: { name: shared }\nspec:\n  \
        tokenSecretRef: { namespace: platform, name: upstash }\n";
    assert_finds(closed, Rule::ConnectionClosed, 4, "spec");
    assert_finds_nothing(&format!(
        "{closed}  namespaceSelector: {{ matchLabels: {{ upstash: allowed }} }}\n"
    ));
}

#[test]
fn one_name_for_two_objects_is_found() {
    let twice = format!("{}---\n{}", policy(RESUME), policy(RESUME));
    assert_finds(&twice, Rule::DuplicateObject, 11, "metadata.name");
}

#[test]
fn a_delete_that_is_wider_than_a_resume_is_an_error() {
    let delete = |filters: &str| format!("action: delete\nfilters: {filters}");
    assert_finds(&pair(RESUME, &delete("{ all: true }")), Rule::DeleteCovers, 14, "spec.filters");
    assert_finds(&pair(&delete("{ labels: [payments] }"), RESUME), Rule::DeleteCovers, 6, "spec.filters");
    let ids = "action: resume\nfilters: { dlqIds: [dlq-1] }";
    assert_finds(&pair(ids, &delete("{ all: true }")), Rule::DeleteCovers, 13, "spec.filters");
    let said = message(&pair(RESUME, &delete("{ all: true }")), Rule::DeleteCovers);
    assert!(
        said.starts_with("deletes everything that DlqPolicy payments/a (resume) would bring back"),
        "{said}"
    );
    let young = RESUME.to_owned() + "\n  newerThan: 1d";
    assert_finds_nothing(&pair(&young, &delete("{ labels: [payments], olderThan: 1d }")));
    assert_finds_nothing(&pair(RESUME, &(delete("{ all: true }") + "\ndryRun: true")));
    assert_finds_nothing(&pair(RESUME, &(delete("{ all: true }") + "\nsuspend: true")));
    let other_account = delete("{ all: true }") + "\nconnection: { tokenSecretRef: { name: other } }";
    assert_finds_nothing(&pair(RESUME, &other_account));
}

#[test]
fn policies_with_different_actions_for_the_same_entries_are_found() {
    let restart = RESUME.replace("resume", "restart");
    assert_finds(&pair(RESUME, &restart), Rule::OverlappingActions, 14, "spec.filters");
    let old = "action: delete\nfilters: { labels: [payments], olderThan: 1d }";
    assert_finds(&pair(RESUME, old), Rule::OverlappingActions, 14, "spec.filters");
    assert_finds_nothing(&pair(RESUME, RESUME));
    let other = found_in(&pair(RESUME, &old.replace("payments", "orders")), None);
    assert_eq!(other.iter().map(|finding| finding.level).collect::<Vec<_>>(), [Level::Note]);
}

#[test]
fn what_a_policy_does_to_many_is_one_finding() {
    let many: Vec<_> =
        (0..9).map(|number| policy(RESUME).replace("name: a,", &format!("name: a{number},"))).collect();
    let text = format!("{}---\n{}", many.join("---\n"), policy("action: delete\nfilters: { all: true }"));
    assert_finds(&text, Rule::DeleteCovers, 78, "spec.filters");
    let said = message(&text, Rule::DeleteCovers);
    assert!(said.contains("DlqPolicy payments/a2 (resume) and 6 more would bring back"), "{said}");
}

#[test]
fn labels_that_erase_the_count_of_another_policy_are_found() {
    let counting = format!("{RESUME}\nloopProtection: {{ maxAttempts: 3 }}");
    let relabelling = format!("{RESUME}\noverrides:\n  labels: [retried]");
    assert_finds(&pair(&relabelling, &counting), Rule::AttemptsErased, 9, "spec.overrides.labels");
    assert_finds_nothing(&pair(&format!("{relabelling}\nloopProtection: {{ maxAttempts: 3 }}"), &counting));
}

#[test]
fn windows_that_match_nothing_on_a_plan_are_found() {
    let old = policy("action: delete\nfilters:\n  olderThan: 3d");
    assert_eq!(problems(&old, Some("3d")), [("matches-nothing", 7, "spec.filters.olderThan".to_owned())]);
    assert_eq!(problems(&old, Some("7d")), []);
    assert_eq!(problems(&old, None), []);
    let past = policy("action: delete\nfilters:\n  toDate: '2026-11-01T00:00:00Z'");
    assert_eq!(problems(&past, Some("3d")), [("matches-nothing", 7, "spec.filters.toDate".to_owned())]);
    let crossed = policy("action: delete\nfilters:\n  toDate: '2026-11-01T00:00:00Z'\n  newerThan: 1d");
    assert_finds(&crossed, Rule::MatchesNothing, 7, "spec.filters.toDate");
    let looked =
        policy("action: delete\nfilters:\n  olderThan: 3d\nbacklog: { interval: 1h, retention: 3d }");
    assert_finds(&looked, Rule::MatchesNothing, 7, "spec.filters.olderThan");
}

#[test]
fn a_schedule_that_lets_entries_expire_is_found() {
    let weekly = policy(&format!("{RESUME}\nloopProtection: {{ maxAttempts: 3 }}\nschedule: '@weekly'"));
    assert_eq!(problems(&weekly, Some("3d")), [("expires-unseen", 9, "spec.schedule".to_owned())]);
    assert_eq!(problems(&weekly, Some("7d")), []);
}

#[test]
fn every_rule_has_a_name_of_its_own_and_is_documented() {
    let ids: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(ids.len(), Rule::ALL.len());
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugin.md")).unwrap();
    for rule in Rule::ALL {
        let row = format!("| `{}` | {} | {} |", rule.id(), rule.level(), rule.description());
        assert!(page.contains(&row), "docs/plugin.md lacks the row {row}");
    }
}

#[test]
fn a_line_of_the_report_reads_as_a_compilers() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, policy(&format!("{RESUME}\ndryrun: true"))).unwrap();
    let documents = manifest::read(&path).unwrap();
    let findings = lint(&documents, None, "2026-11-20T12:00:00Z".parse().unwrap()).unwrap();
    let report = text::report(&documents, &findings).replace(&format!("{}/", folder.path().display()), "");
    let expected = "policy.yaml:8: error: DlqPolicy payments/a: spec.dryrun: unknown field; did you mean dryRun? \
                    [unknown-field]\nchecked 1 object: 1 error, 0 warnings\n";
    assert_eq!(report, expected);
}

#[test]
fn one_file_that_cannot_be_read_hides_nothing_of_the_others() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.yaml"), policy(RESUME)).unwrap();
    fs::write(folder.path().join("b.yaml"), "a: [\n").unwrap();
    let (documents, unreadable) = manifest::read_all(&[folder.path().to_owned()]).unwrap();
    let findings: Vec<_> = unreadable.into_iter().map(Finding::unreadable).collect();
    assert_eq!((documents.len(), findings.len()), (1, 1));
    let Finding { rule, level, source, .. } = &findings[0];
    assert!(
        (*rule, *level) == (Rule::Unreadable, Level::Error) && source.ends_with("b.yaml"),
        "{findings:?}"
    );
}

#[test]
fn metadata_that_the_api_server_refuses_is_found() {
    let named = |metadata: &str| policy(RESUME).replace("name: a, namespace: payments", metadata);
    for (metadata, field) in [
        ("name: Bad_Name", "metadata.name"),
        ("name: a, namespace: bad.place", "metadata.namespace"),
        ("name: a, labels: { b: 1 }", "metadata.labels.b"),
        ("name: a, annotations: { b: true }", "metadata.annotations.b"),
    ] {
        assert_finds(&named(metadata), Rule::InvalidValue, 3, field);
    }
}

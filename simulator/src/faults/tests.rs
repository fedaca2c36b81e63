use super::*;

fn faults(rules: &str) -> Faults {
    let mut faults = Faults::default();
    faults.replace(
        serde_json::from_str(&format!(r#"{{"seed":1,"rules":[{rules}]}}"#)).expect("well-formed rules"),
    );
    faults
}

/// Which of the first `calls` resumes of DLQ `a` meet a fault, counted from 1.
fn hits(rules: &str, calls: u64) -> Vec<u64> {
    let mut faults = faults(rules);
    (1..=calls).filter(|_| faults.meet("a", Some("t"), Operation::Resume, None).fault.is_some()).collect()
}

#[test]
fn without_rules_nothing_goes_wrong() {
    assert_eq!(Faults::default().meet("a", None, Operation::List, None), Trouble::default());
}

#[test]
fn nth_means_that_call_only() {
    assert_eq!(hits(r#"{"nth":2,"fault":{"status":{"code":500}}}"#, 4), [2]);
}

#[test]
fn from_means_that_call_and_all_after_it() {
    assert_eq!(hits(r#"{"from":3,"fault":{"status":{"code":500}}}"#, 5), [3, 4, 5]);
}

#[test]
fn times_limits_how_often() {
    assert_eq!(hits(r#"{"from":2,"times":2,"fault":{"status":{"code":500}}}"#, 6), [2, 3]);
}

#[test]
fn probability_is_kept_roughly_and_repeats_with_the_seed() {
    let rule = r#"{"probability":0.25,"fault":{"status":{"code":500}}}"#;
    let first = hits(rule, 4000);
    assert!((800..1200).contains(&first.len()), "{} of 4000", first.len());
    assert_eq!(first, hits(rule, 4000));
}

#[test]
fn what_befalls_a_rules_calls_does_not_hang_on_the_calls_of_others() {
    let rule = |dlq| format!(r#"{{"dlq":"{dlq}","probability":0.5,"fault":{{"status":{{"code":500}}}}}}"#);
    let alone = hits(&rule("a"), 100);
    let mut both = faults(&format!("{},{}", rule("a"), rule("b")));
    let among_others: Vec<u64> = (1..=100)
        .filter(|call| {
            for _ in 0..call % 3 {
                both.meet("b", None, Operation::Delete, None);
            }
            both.meet("a", Some("t"), Operation::Resume, None).fault.is_some()
        })
        .collect();
    assert_eq!(alone, among_others);
}

#[test]
fn rules_that_could_never_work_are_refused() {
    for (rule, problem) in [
        (r#""probability":1.5,"fault":{"status":{"code":500}}"#, "probability"),
        (r#""nth":0,"fault":{"status":{"code":500}}"#, "from 1"),
        (r#""from":0,"fault":{"status":{"code":500}}"#, "from 1"),
        (r#""fault":{"status":{"code":99}}"#, "no status"),
        (r#""fault":{"status":{"code":600}}"#, "no status"),
        (r#""fault":{"status":{"code":429,"headers":{"a b":"1"}}}"#, "a b"),
        (r#""fault":{"status":{"code":429,"contentType":"a\nb"}}"#, "content-type"),
        (r#""fault":{"status":{"code":429,"headers":{"Content-Length":"5"}}}"#, "Content-Length"),
        (r#""times":0,"fault":{"status":{"code":500}}"#, "no call"),
        (r#""operation":[],"fault":{"status":{"code":500}}"#, "no call"),
        (r#""fault":{"latency":{"ms":1,"jitterMs":18446744073709551615}}"#, "latency"),
        (r#""fault":{"arrive":{"count":99999999999}}"#, "at most"),
        (r#""fault":{"ignore":{"parameters":[]}}"#, "nothing"),
        (
            r#""fault":{"ignore":{"parameters":["label","labels"]}}"#,
            r#""labels" is no parameter that filters"#,
        ),
        (r#""fault":{"ignore":{"parameters":["dlqIds"]}}"#, "those are workflowUrl, label, "),
        (r#""fault":{"ignore":{"parameters":["toDate","cursor"]}}"#, r#""cursor" is no"#),
        (r#""fault":{"ignore":{"parameters":["count"]}}"#, r#""count" is no"#),
        (
            r#""fault":{"refuseSeveral":{"parameter":"toDate"}}"#,
            r#""toDate" is no filter with several values"#,
        ),
        (r#""fault":{"refuseSeveral":{"parameter":"dlqIds"}}"#, "those are workflowUrl, label, "),
    ] {
        let plan: FaultPlan =
            serde_json::from_str(&format!(r#"{{"rules":[{{{rule}}}]}}"#)).expect("a plan in its form");
        let refusal = plan.check().expect_err(rule);
        assert!(refusal.message.starts_with("rules[0]: "), "{refusal}");
        assert!(refusal.message.contains(problem), "{refusal}");
    }
}

#[test]
fn dlq_token_and_operation_must_all_match() {
    let mut faults = faults(
        r#"{"dlq":"a","token":"t","operation":["resume","list"],"fault":{"drop":{"when":"beforeAction"}}}"#,
    );
    let mut hit = |dlq, token, operation| faults.meet(dlq, token, operation, None).fault.is_some();
    assert!(hit("a", Some("t"), Operation::Resume));
    assert!(hit("a", Some("t"), Operation::List));
    assert!(!hit("b", Some("t"), Operation::Resume));
    assert!(!hit("a", Some("u"), Operation::Resume));
    assert!(!hit("a", None, Operation::Resume));
    assert!(!hit("a", Some("t"), Operation::Delete));
}

#[test]
fn latencies_add_up_and_the_first_other_fault_applies() {
    let mut faults = faults(
        r#"{"fault":{"latency":{"ms":20}}},
           {"operation":"delete","fault":{"cursor":"repeat"}},
           {"operation":"delete","times":1,"fault":{"expire":{"count":3}}},
           {"fault":{"latency":{"ms":30,"jitterMs":10}}}"#,
    );
    let trouble = faults.meet("a", None, Operation::Delete, None);
    assert!((50..=60).contains(&trouble.latency.as_millis()), "{trouble:?}");
    assert_eq!(trouble.name(), Some("cursor"));
    assert_eq!(faults.meet("a", None, Operation::List, None).name(), Some("latency"));
}

#[test]
fn only_calls_that_can_have_filters_ignore_them() {
    let mut faults = faults(r#"{"nth":2,"fault":{"ignore":{"parameters":["label"]}}}"#);
    let mut hit = |operation| faults.meet("a", None, operation, None).fault.is_some();
    for operation in [Operation::List, Operation::Get, Operation::ResumeOne, Operation::Callback] {
        assert!(!hit(operation), "{operation:?}");
    }
    assert!(hit(Operation::Delete), "the second call of those that can have filters");
}

#[test]
fn only_calls_with_several_values_count_for_a_rule_that_refuses_them() {
    let mut faults = faults(r#"{"from":2,"times":1,"fault":{"refuseSeveral":{"parameter":"label"}}}"#);
    let mut hit = |operation, query: &str| {
        let pairs = Pairs::parse(query).ok();
        faults.meet("a", None, operation, pairs.as_ref()).fault.is_some()
    };
    assert!(!hit(Operation::Resume, "label=a,b"), "the first");
    for query in ["", "label=a", "callerIp=a,b", "label=a,b&callerIp=%ff"] {
        assert!(!hit(Operation::Resume, query), "{query}");
    }
    assert!(!hit(Operation::ResumeOne, "label=a,b"));
    assert!(hit(Operation::Resume, "label=a&label=b"), "the second");
    assert!(!hit(Operation::Resume, "label=a&label=b"), "once was enough");
}

#[test]
fn every_form_of_the_contract_is_read() {
    for (fault, name) in [
        (r#"{"latency":{"ms":50,"jitterMs":10}}"#, "latency"),
        (
            r#"{"status":{"code":429,"headers":{"Retry-After":"1"},"body":"slow","contentType":"text/html"}}"#,
            "status",
        ),
        (r#"{"status":{"code":524,"afterAction":true}}"#, "status"),
        (r#"{"quota":{}}"#, "quota"),
        (r#"{"lostAnswer":{"how":"close"}}"#, "lostAnswer"),
        (r#"{"lostAnswer":{"how":"status500"}}"#, "lostAnswer"),
        (r#"{"lostAnswer":{"how":"hang"}}"#, "lostAnswer"),
        (r#"{"drop":{"when":"beforeAction"}}"#, "drop"),
        (r#"{"drop":{"when":"duringBody"}}"#, "drop"),
        (r#"{"drop":{"when":"afterHeaders"}}"#, "drop"),
        (r#"{"body":{"kind":"truncated","bytes":3}}"#, "body"),
        (r#"{"body":{"kind":"invalidJson"}}"#, "body"),
        (r#"{"body":{"kind":"huge","bytes":1000}}"#, "body"),
        (r#"{"body":{"kind":"largeBodies","bytes":1000}}"#, "body"),
        (r#"{"body":{"kind":"slowDrip"}}"#, "body"),
        (r#"{"body":{"kind":"wrongContentType"}}"#, "body"),
        (r#"{"body":{"kind":"extraFields"}}"#, "body"),
        (r#"{"body":{"kind":"empty"}}"#, "body"),
        (r#"{"cursor":"repeat"}"#, "cursor"),
        (r#"{"cursor":"emptyPage"}"#, "cursor"),
        (r#"{"expire":{"count":1}}"#, "expire"),
        (r#"{"arrive":{"count":1}}"#, "arrive"),
        (r#"{"ignore":{"parameters":["label","toDate"]}}"#, "ignore"),
        (r#"{"refuseSeveral":{"parameter":"label"}}"#, "refuseSeveral"),
    ] {
        let read: Fault = serde_json::from_str(fault).expect(fault);
        assert_eq!(read.name(), name, "{fault}");
    }
}

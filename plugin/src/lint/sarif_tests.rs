use serde_json::Value;

use super::*;

fn finding(rule: Rule, source: &str) -> Finding {
    Finding {
        rule,
        level: rule.level(),
        source: source.to_owned(),
        line: 7,
        object: "DlqPolicy payments/resume".to_owned(),
        field: "spec.schedule".to_owned(),
        message: "why".to_owned(),
    }
}

#[test]
fn each_finding_names_its_rule_and_its_place() {
    let findings =
        [finding(Rule::PossibleLoop, "policies/a.yaml"), finding(Rule::NextRuns, "policies/a.yaml")];
    let log: Value = serde_json::from_str(&report(&findings).unwrap()).unwrap();
    let run = &log["runs"][0];
    let [result] = &run["results"].as_array().unwrap()[..] else { panic!("{log:#}") };
    assert_eq!(result["ruleId"], "possible-loop");
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "possible-loop");
    assert_eq!(result["level"], "warning");
    assert_eq!(result["message"]["text"], "DlqPolicy payments/resume spec.schedule: why");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "policies/a.yaml");
    assert_eq!(place["region"]["startLine"], 7);
}

#[test]
fn a_path_is_a_uri_from_here() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(uri("./policies/a b#1.yaml"), "policies/a%20b%231.yaml");
    assert_eq!(uri(&here.join("policies/a.yaml").display().to_string()), "policies/a.yaml");
    assert_eq!(uri("/elsewhere/a.yaml"), "file:///elsewhere/a.yaml");
    assert_eq!(uri("standard input"), "standard%20input");
}

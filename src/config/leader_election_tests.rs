use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: LeaseFlags,
}

fn parse(arguments: &[&str]) -> Result<LeaseFlags, clap::Error> {
    let arguments = ["dlq-operator"].iter().chain(arguments);
    Line::try_parse_from(arguments).map(|line| line.flags)
}

/// The lease of an operator in the namespace `ops`.
fn lease(arguments: &[&str]) -> Result<Option<LeaseConfig>, LeaseError> {
    parse(arguments).unwrap().config(&[], None, Some("ops"))
}

fn refusal(arguments: &[&str]) -> String {
    match parse(arguments) {
        Err(error) => error.to_string(),
        Ok(flags) => flags.config(&[], None, Some("ops")).unwrap_err().to_string(),
    }
}

fn name(namespaces: &[&str], selector: Option<&str>) -> String {
    let namespaces: Vec<_> = namespaces.iter().map(|name| (*name).to_owned()).collect();
    let flags = parse(&["--leader-elect"]).unwrap();
    flags.config(&namespaces, selector, Some("ops")).unwrap().unwrap().name
}

#[test]
fn nobody_is_elected_unless_asked_for() {
    assert_eq!(lease(&[]).unwrap(), None);
    assert_eq!(lease(&["--leader-elect=false", "--lease-name", "x"]).unwrap(), None);
}

#[test]
fn the_lease_is_in_the_operators_own_namespace_unless_another_is_named() {
    let expected = LeaseConfig {
        namespace: "ops".to_owned(),
        name: "dlq-operator".to_owned(),
        duration: Duration::from_secs(15),
    };
    assert_eq!(lease(&["--leader-elect"]).unwrap(), Some(expected.clone()));
    assert_eq!(lease(&["--leader-elect", "--lease-name=", "--lease-namespace="]).unwrap(), Some(expected));
    let expected = LeaseConfig {
        namespace: "other".to_owned(),
        name: "my.lease".to_owned(),
        duration: Duration::from_secs(60),
    };
    let arguments =
        ["--leader-elect", "--lease-namespace=other", "--lease-name=my.lease", "--lease-duration=1m"];
    assert_eq!(lease(&arguments).unwrap(), Some(expected));
}

#[test]
fn an_election_needs_a_namespace() {
    let elect = |own| parse(&["--leader-elect"]).unwrap().config(&[], None, own);
    let error = elect(None).unwrap_err().to_string();
    assert!(error.contains("--lease-namespace") && error.contains("POD_NAMESPACE"), "{error}");
    let error = elect(Some("Not one")).unwrap_err().to_string();
    assert!(error.contains("POD_NAMESPACE") && error.contains("Not one"), "{error}");
    assert!(parse(&[]).unwrap().config(&[], None, None).unwrap().is_none(), "no election needs none");
}

#[test]
fn installations_that_share_the_work_have_leases_of_their_own() {
    let all = [
        name(&[], None),
        name(&["a"], None),
        name(&["b"], None),
        name(&["a", "b"], None),
        name(&[], Some("a")),
        name(&[], Some("a=b")),
        name(&["a"], Some("a")),
        name(&[], Some("a in (b,c)")),
        name(&[], Some("a in (b),c")),
        name(&[], Some("a notin (b,c)")),
        name(&[], Some("!a")),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    assert_eq!(all[0], "dlq-operator");
    for name in &all[1..] {
        let hash = name.strip_prefix("dlq-operator-").unwrap();
        assert!(hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    }
}

#[test]
fn the_default_name_stays_the_same_over_versions() {
    assert_eq!(name(&["payments"], Some("shard=a")), "dlq-operator-3c7ce6d7");
}

#[test]
fn how_a_selector_is_laid_out_does_not_matter() {
    for (one, other) in [
        ("a=b,c=d", "c = d, a=b"),
        ("a=b", "a==b"),
        ("a in (x,y),b", " b , a  in ( y, x )"),
        ("!a", "! a"),
        ("a!=b,,", "a != b"),
    ] {
        assert_eq!(name(&[], Some(one)), name(&[], Some(other)), "{one}");
    }
    assert_eq!(name(&[], Some(" , ")), name(&[], None));
}

#[test]
fn a_refusal_names_its_flag() {
    for bad in ["Upper", "a_b", "-a", "a-", "a..b", ".a", &"a".repeat(254)] {
        assert!(refusal(&[&format!("--lease-name={bad}")]).contains("--lease-name"), "{bad}");
    }
    for bad in ["Upper", "a.b", "-a", "a-", &"a".repeat(64)] {
        assert!(refusal(&[&format!("--lease-namespace={bad}")]).contains("--lease-namespace"), "{bad}");
    }
    for bad in ["0", "0s", "2s", "2999ms", "3600s1ms", "61m", "3500ms", "-15s", "15", "1000000h", ""] {
        assert!(refusal(&[&format!("--lease-duration={bad}")]).contains("--lease-duration"), "{bad}");
    }
    for good in ["3s", "1h", "3000ms", "1m30s"] {
        assert!(parse(&[&format!("--lease-duration={good}")]).is_ok(), "{good}");
    }
}

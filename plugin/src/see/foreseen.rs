//! What the operator will make of a policy that it has not seen, by the same code. Its flags are not known here: they are taken to
//! allow the policy.

use dlq_policy::plan::due::next_start;
use dlq_policy::spec::permissions::{Permissions, UrlPattern, base_url};
use dlq_policy::spec::validate::Source;
use dlq_policy::{Invalid, Schedule, validate};
use jiff::Timestamp;

use crate::cluster::Stored;

/// Where policies without `connection.url` go.
const DEFAULT_URL: &str = "https://qstash.upstash.io";

/// What the operator will make of a policy.
#[derive(Debug)]
pub(super) struct Foreseen {
    /// Why no run will start.
    pub(super) invalid: Option<Invalid>,
    schedule: Option<Schedule>,
}

impl Foreseen {
    /// When the next run would start.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref().and_then(|schedule| next_start(schedule, now, now, now))
    }
}

/// What the operator will make of the policy; none where it cannot be read here.
pub(super) fn foreseen(policy: &Stored) -> Option<Foreseen> {
    let spec = policy.spec()?;
    let annotations = policy.annotations();
    let default_url = base_url(DEFAULT_URL).ok()?;
    let own = spec.connection.as_ref().and_then(|connection| connection.url.as_ref());
    let own = own.and_then(|url| base_url(url.as_str()).ok());
    let permissions = Permissions {
        urls: own.into_iter().chain([default_url.clone()]).map(UrlPattern::from).collect(),
        actions: Vec::new(),
        callback_urls: Vec::new(),
        default_url,
        default_connection_namespaces: vec![policy.namespace().to_owned()],
        pause_all: false,
        force_dry_run: false,
    };
    let unseen = Invalid::new(dlq_crd::Reason::ConnectionNotFound, "the connection was not looked at");
    let names_shared = spec.connection.as_ref().is_some_and(|connection| connection.name.is_some());
    let source = Source {
        namespace: policy.namespace(),
        name: policy.name(),
        generation: policy.generation(),
        created: policy.created(),
        annotations: &annotations,
        spec: Ok(spec),
        shared: names_shared.then_some(Err(&unseen)),
    };
    let valid = validate(&source, &permissions);
    let invalid = valid.work.err().or_else(|| valid.schedule.as_ref().err().cloned());
    let invalid = invalid.filter(|invalid| invalid.reason != unseen.reason);
    Some(Foreseen { invalid, schedule: valid.schedule.ok().flatten() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    #[test]
    fn a_policy_that_no_operator_has_seen_is_judged_by_the_operators_own_rules() {
        let of = |spec| foreseen(&sample::policy("a", spec, json!({}))).unwrap();
        let mistyped =
            of(json!({ "action": "resume", "filters": { "all": true }, "schedule": "0 0 31 2 *" }));
        assert_eq!(mistyped.invalid.unwrap().reason, dlq_crd::Reason::InvalidSchedule);
        let good = of(json!({
            "action": "resume", "filters": { "all": true }, "schedule": "0 13 * * *",
            "connection": { "name": "production", "kind": "ClusterDlqConnection" },
        }));
        assert_eq!(good.invalid, None);
        assert_eq!(good.next(sample::now()).unwrap().to_string(), "2026-11-20T13:00:00Z");
    }
}

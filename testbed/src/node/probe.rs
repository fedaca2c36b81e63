//! The probes of a container: when they are due, and what their answers mean.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::container::{port, text};

/// The kubelet may look at a container that is not ready sooner than its period says. So do we, and nobody waits.
const EARLY: Duration = Duration::from_millis(100);

/// What a probe found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Unknown,
    Success,
    Failure,
}

pub(super) struct Probe {
    url: String,
    timeout: Duration,
    period: Duration,
    needed: u64,
    tolerated: u64,
    next: Instant,
    successes: u64,
    failures: u64,
    pub(super) finding: Finding,
}

impl Probe {
    /// `None` without a probe.
    pub(super) fn new(
        probe: &Value,
        address: Ipv4Addr,
        containers: &[Value],
        now: Instant,
    ) -> Result<Option<Self>> {
        if probe.is_null() {
            return Ok(None);
        }
        let get = &probe["httpGet"];
        if !get.is_object() {
            bail!("only httpGet probes are played here: {probe}");
        }
        let number = |field: &str, default| probe[field].as_u64().unwrap_or(default);
        Ok(Some(Self {
            url: format!(
                "http://{}:{}{}",
                get["host"].as_str().unwrap_or(&address.to_string()),
                port(&get["port"], containers)?,
                text(&get["path"])
            ),
            timeout: Duration::from_secs(number("timeoutSeconds", 1)),
            period: Duration::from_secs(number("periodSeconds", 10)),
            needed: number("successThreshold", 1),
            tolerated: number("failureThreshold", 3),
            next: now + Duration::from_secs(number("initialDelaySeconds", 0)),
            successes: 0,
            failures: 0,
            finding: Finding::Unknown,
        }))
    }

    /// Looks, if it is time to.
    pub(super) async fn look(&mut self, http: &reqwest::Client, may_be_early: bool) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let answer = http.get(&self.url).timeout(self.timeout).send().await;
        self.heard(answer.is_ok_and(|answer| answer.status().as_u16() < 400));
        let is_early = may_be_early && self.finding != Finding::Success;
        self.next = now + if is_early { EARLY } else { self.period };
    }

    fn heard(&mut self, is_well: bool) {
        if is_well {
            (self.successes, self.failures) = (self.successes + 1, 0);
            if self.successes >= self.needed {
                self.finding = Finding::Success;
            }
        } else {
            (self.successes, self.failures) = (0, self.failures + 1);
            if self.failures >= self.tolerated {
                self.finding = Finding::Failure;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(fields: &Value) -> Probe {
        let mut probe = json!({ "httpGet": { "path": "/readyz", "port": "http" } });
        probe.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let containers = [json!({ "ports": [{ "name": "http", "containerPort": 8080 }] })];
        Probe::new(&probe, Ipv4Addr::new(127, 0, 0, 9), &containers, Instant::now()).unwrap().unwrap()
    }

    #[test]
    fn a_probe_asks_the_pods_address_at_the_named_port() {
        assert_eq!(probe(&json!({})).url, "http://127.0.0.9:8080/readyz");
    }

    #[test]
    fn thresholds_decide_what_answers_in_a_row_mean() {
        let mut probe = probe(&json!({ "failureThreshold": 2, "successThreshold": 2 }));
        let mut after = |answers: &[bool]| {
            for answer in answers {
                probe.heard(*answer);
            }
            probe.finding
        };
        assert_eq!(after(&[true]), Finding::Unknown);
        assert_eq!(after(&[true]), Finding::Success);
        assert_eq!(after(&[false, true, false]), Finding::Success);
        assert_eq!(after(&[false]), Finding::Failure);
    }
}

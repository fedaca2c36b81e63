//! A replica of the operator, and what is scraped of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kube::runtime::reflector::Store;

use super::clock;
use crate::controller::metrics::{Build, Metrics};
use crate::controller::shared::SharedConnections;
use crate::controller::watched::policy::WatchedPolicy;
use crate::runtime::leadership::Leadership;
use crate::runtime::metrics::exposition::{Exposition, Format};
use dlq_upstash::client::{ClientOptions, Transport};

pub(super) struct Process {
    pub(super) metrics: Metrics,
    pod: String,
    leads: bool,
    exposition: Exposition,
    started: f64,
    busy: f64,
}

impl Process {
    pub(super) fn new(
        number: usize,
        version: &'static str,
        leads: bool,
        store: Store<WatchedPolicy>,
        connections: Arc<SharedConnections>,
    ) -> Self {
        let metrics = Metrics::new(true, clock::now);
        metrics.watch(store);
        metrics.watch_connections(connections);
        let transport = Transport::new(ClientOptions::new(Duration::from_secs(10))).unwrap();
        let build = Build { version, revision: "1a2b3c4" };
        Self {
            exposition: metrics.exposition(build, Leadership::always(), transport),
            metrics,
            pod: format!("dlq-operator-{number}"),
            leads,
            started: clock::now().as_duration().as_secs_f64(),
            busy: 0.0,
        }
    }

    /// The holder of its runs.
    pub(super) fn holder(&self) -> String {
        format!("{}/8c1f", self.pod)
    }

    /// Adds what it says now, as Prometheus would keep it.
    pub(super) fn scrape(&mut self, dice: &mut Rng, day: &mut String) {
        self.busy += if self.leads { 1.5 * dice.f64() } else { 0.2 };
        let now = clock::now().as_second();
        let text = self.exposition.render(Format::OpenMetrics).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let comma = if labels == "}" { "" } else { "," };
            write!(day, "{name}{{job=\"dlq-operator\",instance=\"{}\"{comma}{labels} ", self.pod).unwrap();
            match self.of_machine(name, dice) {
                Some(value) => writeln!(day, "{value} {now}"),
                None => writeln!(day, "{value} {now}"),
            }
            .unwrap();
        }
    }

    /// The values that the day makes up: those that the process reads off the machine, the lease and answers' dates.
    fn of_machine(&self, name: &str, dice: &mut Rng) -> Option<f64> {
        let leads = f64::from(u8::from(self.leads));
        let value = match name {
            "dlq_operator_leader" => leads,
            "dlq_operator_clock_offset_seconds" => leads * (0.2 + dice.f64() / 20.0),
            "process_cpu_seconds_total" => self.busy,
            "process_open_fds" => 18.0 + 6.0 * leads + f64::from(dice.u8(0..3)),
            "process_max_fds" => 1_048_576.0,
            "process_virtual_memory_bytes" => 160e6,
            "process_resident_memory_bytes" => 21e6 + 4e6 * leads + 1e6 * dice.f64(),
            "process_start_time_seconds" => self.started,
            _ if name.starts_with("process_") => panic!("the day knows no {name}"),
            _ => return None,
        };
        Some(value)
    }
}

//! The process itself, as every client library of Prometheus tells of it.

use std::fmt;

use procfs::process::{LimitValue, Process, Stat};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Definition, Kind};

const fn define(name: &'static str, kind: Kind, help: &'static str) -> Definition {
    Definition { name, kind, labels: &[], help }
}

/// What is told of the process.
pub const DEFINITIONS: [Definition; 6] = [
    define("process_cpu_seconds_total", Kind::Counter, "Processor time spent, in user and system mode."),
    define("process_open_fds", Kind::Gauge, "Open file descriptors."),
    define("process_max_fds", Kind::Gauge, "The limit on open file descriptors."),
    define("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory size."),
    define("process_resident_memory_bytes", Kind::Gauge, "Resident memory size."),
    define("process_start_time_seconds", Kind::Gauge, "When the process started, as Unix time."),
];

/// Reads `/proc/self` when it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (definition, value) in DEFINITIONS.iter().zip(values()) {
            // What this machine does not tell has no series.
            let Some(value) = value else { continue };
            definition.encode_value(&mut encoder, value)?;
        }
        Ok(())
    }
}

/// In the order of [`DEFINITIONS`].
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn values() -> [Option<f64>; 6] {
    let process = Process::myself().ok();
    let process = process.as_ref();
    let stat = process.and_then(|process| process.stat().ok());
    let of_stat = |read: fn(&Stat) -> u64| stat.as_ref().map(|stat| read(stat) as f64);
    let ticks = procfs::ticks_per_second() as f64;
    let boot = procfs::boot_time_secs().ok().map(|boot| boot as f64);
    let limit =
        process.and_then(|process| process.limits().ok()).map(|limits| limits.max_open_files.soft_limit);
    [
        of_stat(|stat| stat.utime + stat.stime).map(|time| time / ticks),
        process.and_then(|process| process.fd_count().ok()).map(|count| count as f64),
        limit.map(|limit| match limit {
            LimitValue::Unlimited => f64::INFINITY,
            LimitValue::Value(limit) => limit as f64,
        }),
        of_stat(|stat| stat.vsize),
        of_stat(|stat| stat.rss).map(|pages| pages * procfs::page_size() as f64),
        of_stat(|stat| stat.starttime).zip(boot).map(|(start, boot)| boot + start / ticks),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_start_in_the_past() {
        let [cpu, open, most, virtual_memory, resident, start] = values().map(Option::unwrap);
        assert!(cpu >= 0.0);
        assert!(open >= 3.0 && most >= open, "{open} of {most}");
        assert!(resident > 100_000.0 && virtual_memory >= resident, "{resident} of {virtual_memory}");
        let now = crate::runtime::clock::now().as_duration().as_secs_f64();
        assert!(start <= now + 5.0 && start > now - 24.0 * 3600.0, "{start}, now {now}");
    }
}

//! The series of shared connections, as the watches show them: standbys have them too.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::definitions::{CONNECTION_ENTRIES, CONNECTION_LIMIT, CONNECTION_READY};
use crate::controller::names::Clock;
use crate::controller::shared::SharedConnections;
use crate::controller::shared::object::ConnectionObject;
use crate::runtime::metrics::{Definition, encode_gauge};
use dlq_policy::status::connection::is_ready;

/// The shared connections, once they are watched.
#[derive(Default)]
pub(super) struct Connections(OnceLock<Arc<SharedConnections>>);

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// Shows these.
    pub(super) fn watch(&self, shared: Arc<SharedConnections>) {
        // There is one controller in a process.
        let _ = self.0.set(shared);
    }
}

/// A gauge that each connection has at most one series of.
type Read = fn(&ConnectionObject, Timestamp) -> Option<f64>;

const GAUGES: [(Definition, Read); 3] = [
    (CONNECTION_READY, |object, _| Some(if is_ready(&object.status) { 1.0 } else { 0.0 })),
    (CONNECTION_ENTRIES, entries_today),
    (CONNECTION_LIMIT, |object, _| limit(object).map(number)),
];

/// Writes what the connections say.
#[derive(Debug)]
pub(super) struct ConnectionCollector {
    pub(super) connections: Arc<Connections>,
    pub(super) clock: Clock,
}

impl Collector for ConnectionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.connections.0.get().map(|shared| shared.all()).unwrap_or_default();
        let now = (self.clock)();
        for (definition, read) in &GAUGES {
            definition.encode(&mut encoder, |mut encoder| {
                all.iter().try_for_each(|object| {
                    let name = &object.name;
                    let labels = definition.series(&[name.kind.as_str(), &name.namespace, &name.name]);
                    read(object, now).map_or(Ok(()), |value| encode_gauge(&mut encoder, &labels, value))
                })
            })?;
        }
        Ok(())
    }
}

fn limit(object: &ConnectionObject) -> Option<u64> {
    object.shared.as_ref().ok()?.budget.max_entries_per_day
}

/// A status of another day says nothing of this one.
fn entries_today(object: &ConnectionObject, now: Timestamp) -> Option<f64> {
    limit(object)?;
    let spent = object.spent().ok()?;
    let today = object.shared.as_ref().ok()?.budget.counted_day(spent, now);
    let spent = spent.filter(|spent| spent.day == today);
    Some(number(spent.map_or(0, |spent| spent.entries)))
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn number(count: u64) -> f64 {
    count as f64
}

//! Metrics: how they are defined, kept and written. Which there are is for those to say who count.

pub mod exposition;
pub mod process;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Unit;

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by their size.
    Histogram,
}

impl Kind {
    /// The word of the exposition formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, as it is documented and written.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// As it is queried; of counters with `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// The labels of one series.
pub type Labels = Vec<(&'static str, String)>;

impl Definition {
    /// The name of the family in OpenMetrics, which leaves a counter's suffix to its sample.
    fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }

    /// The family without its unit, and the unit.
    fn parts(&self) -> (&'static str, Option<Unit>) {
        let family = self.family();
        [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)]
            .into_iter()
            .find_map(|(suffix, unit)| Some((family.strip_suffix(suffix)?, Some(unit))))
            .unwrap_or((family, None))
    }

    /// The labels of the series with these values, given in the order of [`Definition::labels`].
    pub fn series(&self, values: &[&str]) -> Labels {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    /// Writes what the metric is, also when it has no series yet, and then its series.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let (name, unit) = self.parts();
        series(encoder.encode_descriptor(name, self.help, unit.as_ref(), kind)?)
    }
}

impl Definition {
    /// Writes a metric that has one value and no labels.
    ///
    /// # Errors
    /// The writer's.
    fn encode_value(&self, encoder: &mut DescriptorEncoder<'_>, value: f64) -> fmt::Result {
        self.encode(encoder, |mut encoder| match self.kind {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
            Kind::Gauge | Kind::Histogram => encoder.encode_gauge(&value),
        })
    }
}

/// Writes one series. Without labels there are no braces.
///
/// # Errors
/// The writer's.
pub fn encode_series(
    encoder: &mut MetricEncoder<'_>,
    labels: &Labels,
    value: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { value(encoder) } else { value(&mut encoder.encode_family(labels)?) }
}

/// Writes a gauge's series.
///
/// # Errors
/// The writer's.
pub fn encode_gauge(encoder: &mut MetricEncoder<'_>, labels: &Labels, value: f64) -> fmt::Result {
    encode_series(encoder, labels, |encoder| encoder.encode_gauge(&value))
}

/// Writes a counter's series.
///
/// # Errors
/// The writer's.
pub fn encode_counter(encoder: &mut MetricEncoder<'_>, labels: &Labels, value: u64) -> fmt::Result {
    encode_series(encoder, labels, |encoder| encoder.encode_counter::<NoLabelSet, _, f64>(&value, None))
}

/// Counters that differ in their labels. Clones count together.
#[derive(Clone, Debug)]
pub struct Counters {
    definition: Definition,
    family: Family<Labels, Counter>,
}

impl Counters {
    /// None yet.
    pub fn new(definition: Definition) -> Self {
        Self { definition, family: Family::default() }
    }

    /// With series that are shown from the start: a first increase can be seen only by who saw the zero.
    #[must_use]
    pub fn with_zeros<'a>(self, values: impl IntoIterator<Item = &'a [&'a str]>) -> Self {
        for values in values {
            self.add(values, 0);
        }
        self
    }

    /// Adds to the one with these values of its labels.
    pub fn add(&self, values: &[&str], count: u64) {
        self.family.get_or_create(&self.definition.series(values)).inc_by(count);
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.definition.encode(&mut encoder, |encoder| encode_family(&self.definition, &self.family, encoder))
    }
}

/// Makes histograms with these upper bounds.
#[derive(Clone, Copy, Debug)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Histograms that differ in their labels. Clones observe together.
#[derive(Clone, Debug)]
pub struct Histograms {
    definition: Definition,
    family: Family<Labels, Histogram, Buckets>,
}

impl Histograms {
    /// None yet; `buckets`: upper bounds, without infinity.
    pub fn new(definition: Definition, buckets: &'static [f64]) -> Self {
        Self { definition, family: Family::new_with_constructor(Buckets(buckets)) }
    }

    /// With series that are shown from the start, as [`Counters::with_zeros`].
    #[must_use]
    pub fn with_zeros<'a>(self, values: impl IntoIterator<Item = &'a [&'a str]>) -> Self {
        for values in values {
            drop(self.family.get_or_create(&self.definition.series(values)));
        }
        self
    }

    /// Counts one observation.
    pub fn observe(&self, values: &[&str], value: f64) {
        self.family.get_or_create(&self.definition.series(values)).observe(value);
    }
}

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.definition.encode(&mut encoder, |encoder| encode_family(&self.definition, &self.family, encoder))
    }
}

/// Whoever has no labels is there from the start, and is written without braces.
fn encode_family<M, C>(
    definition: &Definition,
    family: &Family<Labels, M, C>,
    encoder: MetricEncoder<'_>,
) -> fmt::Result
where
    M: EncodeMetric + TypedMetric,
    C: MetricConstructor<M>,
{
    if definition.labels.is_empty() {
        family.get_or_create(&Labels::new()).encode(encoder)
    } else {
        family.encode(encoder)
    }
}

/// A metric without labels that is read when it is asked for.
pub struct Reading {
    definition: Definition,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Reading {
    /// `read` must not take long.
    pub fn new(definition: Definition, read: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { definition, read: Box::new(read) }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Reading").field(&self.definition.name).finish()
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = (self.read)();
        self.definition.encode_value(&mut encoder, value)
    }
}

/// A gauge that is 1, and says something by its labels.
#[derive(Clone, Debug)]
pub struct Info {
    definition: Definition,
    labels: Labels,
}

impl Info {
    /// Says this.
    pub fn new(definition: Definition, values: &[&str]) -> Self {
        Self { definition, labels: definition.series(values) }
    }
}

impl Collector for Info {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.definition.encode(&mut encoder, |mut encoder| encode_gauge(&mut encoder, &self.labels, 1.0))
    }
}

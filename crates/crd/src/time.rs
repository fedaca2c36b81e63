//! An instant with milliseconds, for the times of a run.

use std::borrow::Cow;
use std::fmt;

use jiff::{Timestamp, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant to the millisecond, written as RFC 3339 in UTC with three fraction digits.
///
/// Kubernetes' own `Time` drops fractions of a second, and a window that is written to the status and read back without
/// them would select other entries than the ones the run began with.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MilliTime(Timestamp);

impl MilliTime {
    /// The instant, cut to the millisecond.
    pub fn new(instant: Timestamp) -> Self {
        Self(Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant))
    }

    /// The instant.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Milliseconds since 1970, as the API counts.
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }
}

impl From<Timestamp> for MilliTime {
    fn from(instant: Timestamp) -> Self {
        Self::new(instant)
    }
}

impl fmt::Display for MilliTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.round(Unit::Millisecond).unwrap_or(self.0);
        write!(f, "{cut:.3}")
    }
}

impl Serialize for MilliTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MilliTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(Self::new).map_err(de::Error::custom)
    }
}

impl JsonSchema for MilliTime {
    fn schema_name() -> Cow<'static, str> {
        "MilliTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "maxLength": 35 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_a_round_trip() {
        for text in ["2026-11-01T12:00:00.123Z", "2026-11-01T12:00:00.000Z"] {
            let time: MilliTime = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(time).unwrap(), text);
        }
    }

    #[test]
    fn finer_fractions_are_cut() {
        let time = MilliTime::new("2026-11-01T12:00:00.123999Z".parse().unwrap());
        assert_eq!(time.to_string(), "2026-11-01T12:00:00.123Z");
        assert_eq!(time.as_millisecond(), 1_793_534_400_123);
    }
}

//! The rules: their names, how severe a breach is, and what they say.

use std::fmt;

use serde::Serialize;

/// How severe a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Likely not what was meant.
    Warning,
    /// The API server or the operator refuses it, or it does harm.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    Unreadable,
    UnknownKind,
    UnknownVersion,
    UnknownField,
    MissingField,
    InvalidValue,
    BrokenRule,
    DuplicateObject,
    InvalidSpec,
    InvalidSchedule,
    InvalidTimeZone,
    NextRuns,
    UrlNotAllowed,
    GuardrailViolated,
    ConnectionClosed,
    ConnectionElsewhere,
    PossibleLoop,
    AttemptsErased,
    DeleteCovers,
    OverlappingActions,
    MatchesNothing,
    ExpiresUnseen,
}

impl Rule {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 22] = [
        Self::Unreadable,
        Self::UnknownKind,
        Self::UnknownVersion,
        Self::UnknownField,
        Self::MissingField,
        Self::InvalidValue,
        Self::BrokenRule,
        Self::DuplicateObject,
        Self::InvalidSpec,
        Self::InvalidSchedule,
        Self::InvalidTimeZone,
        Self::NextRuns,
        Self::UrlNotAllowed,
        Self::GuardrailViolated,
        Self::ConnectionClosed,
        Self::ConnectionElsewhere,
        Self::PossibleLoop,
        Self::AttemptsErased,
        Self::DeleteCovers,
        Self::OverlappingActions,
        Self::MatchesNothing,
        Self::ExpiresUnseen,
    ];

    /// The name that reports carry.
    pub fn id(self) -> &'static str {
        self.words().0
    }

    /// How severe a breach is.
    pub fn level(self) -> Level {
        self.words().1
    }

    /// What is checked, in one sentence.
    pub fn description(self) -> &'static str {
        self.words().2
    }

    fn words(self) -> (&'static str, Level, &'static str) {
        use Level::{Error, Note, Warning};
        match self {
            Self::Unreadable => {
                ("unreadable", Error, "The file is no YAML; what else it holds is not checked.")
            }
            Self::UnknownKind => ("unknown-kind", Error, "The operator has no resource of this kind."),
            Self::UnknownVersion => {
                ("unknown-version", Error, "The operator has no such version of its resources.")
            }
            Self::UnknownField => {
                ("unknown-field", Error, "The resource has no such field; kubectl apply refuses it.")
            }
            Self::MissingField => ("missing-field", Error, "A required field is absent."),
            Self::InvalidValue => {
                ("invalid-value", Error, "A value has the wrong type, form, length or size.")
            }
            Self::BrokenRule => {
                ("broken-rule", Error, "A rule (CEL) of the resource's definition is broken.")
            }
            Self::DuplicateObject => (
                "duplicate-object",
                Error,
                "Two objects have one kind, namespace and name; the last one wins.",
            ),
            Self::InvalidSpec => {
                ("invalid-spec", Error, "The API server accepts the spec, and the operator refuses it.")
            }
            Self::InvalidSchedule => {
                ("invalid-schedule", Error, "The schedule cannot be read as a CronJob's.")
            }
            Self::InvalidTimeZone => ("invalid-time-zone", Error, "The time zone is no IANA name."),
            Self::NextRuns => {
                ("next-runs", Note, "The next five times of the schedule, in text output only.")
            }
            Self::UrlNotAllowed => (
                "url-not-allowed",
                Warning,
                "The URL is not Upstash's own: the operator sends a token there only with --allowed-url.",
            ),
            Self::GuardrailViolated => (
                "guardrail-violated",
                Error,
                "The policy does what the shared connection that it names does not allow.",
            ),
            Self::ConnectionClosed => (
                "connection-closed",
                Warning,
                "A ClusterDlqConnection without namespaceSelector serves no policy.",
            ),
            Self::ConnectionElsewhere => (
                "connection-elsewhere",
                Note,
                "The shared connection is not among the files, so its guardrails are not checked.",
            ),
            Self::PossibleLoop => (
                "possible-loop",
                Warning,
                "A scheduled resume or restart without loopProtection would select again what it brings back.",
            ),
            Self::AttemptsErased => (
                "attempts-erased",
                Warning,
                "overrides.labels without loopProtection erases the attempts that another policy counts.",
            ),
            Self::DeleteCovers => (
                "delete-covers",
                Error,
                "A delete selects everything that a resume or restart of the same account selects.",
            ),
            Self::OverlappingActions => (
                "overlapping-actions",
                Warning,
                "Policies of one account with different actions can select the same entries.",
            ),
            Self::MatchesNothing => (
                "matches-nothing",
                Error,
                "The time bounds select nothing, or only what Upstash has dropped.",
            ),
            Self::ExpiresUnseen => (
                "expires-unseen",
                Warning,
                "Upstash can drop an entry between two runs, before the policy ever selects it.",
            ),
        }
    }
}

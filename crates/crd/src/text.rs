//! The strings of policies and connections: each a type of its own, so that its rule sits on the string itself and a rejection names
//! the item (`spec.filters.labels[3]`), not just the list.
//!
//! The types hold what the API server accepted and promise no more: `policy::validate` parses them.

mod account;
mod shape;

use schemars::json_schema;

pub use self::account::{
    ConnectionNameText, ConnectionUrlText, NamespaceText, SecretKeyText, SecretNameText, UrlPatternText,
};
use self::shape::{text, text_schema};

text!(
    /// A DLQ ID. It ends up in a URL's path, so it may hold nothing that changes the path.
    DlqIdText,
    text_schema(
        1,
        256,
        &[(
            "self.matches('^[A-Za-z0-9_.:=~@+-]+$') && self != '.' && self != '..'",
            "an ID must hold only letters, digits and _ . : = ~ @ + -",
        )]
    )
);

text!(
    /// A label or flow-control key to filter by.
    FilterText,
    text_schema(
        1,
        256,
        &[(
            r"self.matches('^[^,\\p{Cc}\\p{Z}]([^,\\p{Cc}]*[^,\\p{Cc}\\p{Z}])?$')",
            "the value must hold no comma (the API would split it there) and no control character, and must not begin or end with a space",
        )]
    )
);

text!(
    /// A workflow's URL to filter by, compared by the API letter for letter.
    WorkflowUrlText,
    text_schema(
        1,
        2048,
        &[
            (
                r"self.matches('^https?://[^\\p{Cc}\\p{Z}]+$') && isURL(self) && url(self).getHostname() != ''",
                "the value must be an http:// or https:// URL without spaces",
            ),
            ("!self.contains(',')", "the URL must hold no comma, as the API would split it there"),
        ]
    )
);

text!(
    /// A workflow run's ID or the beginning of one.
    WorkflowRunIdText,
    text_schema(
        1,
        256,
        &[
            (
                "self.matches('^[!-+.-~-]+$')",
                "an ID, or the beginning of one, must be visible ASCII without spaces or commas",
            ),
            (
                "!'wfr_'.startsWith(self)",
                "the value must hold more than what every workflow run's ID begins with; give more of the ID, or say all: true",
            ),
        ]
    )
);

text!(
    /// An RFC 3339 instant between the years 1970 and 9998. The pattern is there beside the format because the format
    /// alone lets lower-case letters and ten fraction digits through, which later rules cannot evaluate.
    DateTimeText,
    json_schema!({
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$",
        "maxLength": 35,
        "x-kubernetes-validations": [{
            "rule": "self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",
            "message": "the date must be between the years 1970 and 9998",
        }],
    })
);

text!(
    /// One IPv4 or IPv6 address.
    CallerIpText,
    text_schema(1, 45, &[("isIP(self)", "the value must be one IPv4 or IPv6 address")])
);

text!(
    /// A duration above zero: `7d`, `1h30m`, `90s`. Days, hours, minutes, seconds, milliseconds, in this order.
    AgeText,
    text_schema(
        0,
        36,
        &[(
            "self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$') && self.matches('[1-9]')",
            "the value must be a duration longer than 0, such as 7d, 1h30m or 90s: d, h, m, s, ms in this order, at most 4 digits of d and 6 of each other",
        )]
    )
);

text!(
    /// A duration that may be zero, written like [`AgeText`].
    JitterText,
    text_schema(
        0,
        36,
        &[(
            "self != '' && self.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$')",
            "the value must be a duration such as 30s or 1h30m: d, h, m, s, ms in this order, at most 4 digits of d and 6 of each other",
        )]
    )
);

text!(
    /// A duration as Upstash writes it: one number and one unit.
    DelayText,
    text_schema(
        0,
        8,
        &[("self.matches('^[0-9]{1,7}[smhd]$')", "the value must be one number and one of s, m, h, d, such as 10s")]
    )
);

text!(
    /// A duration above zero and of at most a week, as Upstash writes it.
    PeriodText,
    text_schema(
        0,
        8,
        &[(
            "self.matches('^[0-9]{1,7}[smhd]$') && self.matches('[1-9]') && int(self.substring(0, self.size() - 1)) * (self.endsWith('d') ? 86400 : self.endsWith('h') ? 3600 : self.endsWith('m') ? 60 : 1) <= 604800",
            "the period must be one number above 0 and one of s, m, h, d, such as 1m, and at most 7d",
        )]
    )
);

text!(
    /// An expression over `retried`.
    RetryDelayText,
    text_schema(
        1,
        256,
        &[(
            "self.matches('^[!-~]([ -~]*[!-~])?$')",
            "the value must be an expression in visible ASCII on one line, such as (1 + retried) * 1000",
        )]
    )
);

text!(
    /// A flow-control key to give to new workflow runs, in the alphabet that Upstash takes.
    FlowControlKeyText,
    text_schema(
        1,
        256,
        &[(
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "a flow-control key must hold only letters, digits, -, _ and ., as Upstash takes no other",
        )]
    )
);

text!(
    /// A label to give to new workflow runs, in the alphabet that Upstash takes.
    OverrideLabelText,
    text_schema(
        1,
        256,
        &[
            (
                "self.matches('^[A-Za-z0-9_.-]+$')",
                "a label must hold only letters, digits, -, _ and ., as Upstash takes no other",
            ),
            (
                "!self.startsWith('dlq-attempt-')",
                "a label must not begin with dlq-attempt-, as loopProtection counts with such labels",
            ),
        ]
    )
);

text!(
    /// A URL that is sent as a header.
    CallbackUrlText,
    text_schema(
        1,
        2048,
        &[(
            "self.matches('^https?://[!-~]+$') && isURL(self) && url(self).getHostname() != ''",
            "the value must be an http:// or https:// URL in visible ASCII (percent-encode the rest)",
        )]
    )
);

text!(
    /// A CronJob's schedule: five fields, a macro, or `@every` and a duration.
    ScheduleText,
    text_schema(1, 100, &[("!self.contains('TZ=')", "the schedule must hold no TZ= or CRON_TZ=; use timeZone")])
);

text!(
    /// An IANA time zone's name.
    TimeZoneText,
    text_schema(
        1,
        64,
        &[("self.matches('^[A-Za-z0-9_+/-]+$')", "the value must be an IANA name such as Europe/Berlin")]
    )
);

text!(
    /// An HTTP status or a class of them.
    StatusText,
    text_schema(
        0,
        3,
        &[(
            "self.matches('^[1-5]([0-9][0-9]|xx)$')",
            "the value must be a status from 100 to 599 such as 503, or a class such as 5xx",
        )]
    )
);

text!(
    /// A CEL expression.
    ExpressionText,
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 1024 })
);

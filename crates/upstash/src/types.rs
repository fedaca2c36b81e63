//! The API's vocabulary.

mod listed;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use url::form_urlencoded::byte_serialize;

pub use self::listed::{ListedEntry, MAX_RESPONSE_BODY_BYTES};

/// The longest request target, path and query, that is sent, in bytes: every server and proxy should take as much
/// (RFC 9110, section 4.1), and many take little more. A cursor comes on top: whoever gave it takes it back.
pub const MAX_TARGET_BYTES: usize = 8000;

/// What of it criteria or IDs may take. The rest is for the path, `count` and the bounds of a run's window.
pub const MAX_FILTER_BYTES: usize = MAX_TARGET_BYTES - 100;

/// The longest value of a header that is sent, in bytes. Many servers take little more.
pub const MAX_HEADER_BYTES: usize = 8000;

/// How long a parameter is in a query, in bytes, with the `&` or `?` before it.
fn parameter_bytes(name: &str, value: &str) -> usize {
    name.len() + 2 + byte_serialize(value.as_bytes()).map(str::len).sum::<usize>()
}

/// A parameter for each value of a list.
fn texts<'a>(
    name: &'static str,
    list: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
    list.into_iter().map(move |text| (name, Cow::Borrowed(text.as_str())))
}

/// An ID of an entry in the DLQ.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DlqId(pub String);

impl DlqId {
    /// The longest ID, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// An ID as the API gave it. `None`: sent back, it would select something else, or everything.
    pub fn parse(text: String) -> Option<Self> {
        let is_one =
            !text.is_empty() && !text.contains(|c: char| c == ',' || c.is_control() || c.is_whitespace());
        (is_one && text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    /// How long the ID is in a query, in bytes.
    pub fn query_bytes(&self) -> usize {
        parameter_bytes("dlqIds", &self.0)
    }
}

/// Where the next page begins: opaque, given by the API, sent back as it came.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Cursor(pub String);

/// What to do with entries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Continue at the step that failed.
    Resume,
    /// Begin anew.
    Restart,
    /// Drop the entry.
    Delete,
}

/// The criteria of a bulk call or a list: AND between the fields, OR within a list. All empty means *everything*.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Criteria {
    /// `label`
    pub labels: Vec<String>,
    /// `workflowUrl`
    pub workflow_urls: Vec<String>,
    /// `workflowRunId`: an ID or the beginning of one
    pub workflow_run_id: Option<String>,
    /// `workflowCreatedAt`, Unix milliseconds
    pub workflow_created_at: Option<i64>,
    /// `failureFunctionState`
    pub failure_function_states: Vec<&'static str>,
    /// `callerIp`
    pub caller_ips: Vec<String>,
    /// `flowControlKey`
    pub flow_control_keys: Vec<String>,
    /// `fromDate`, Unix milliseconds, inclusive, on the time of failure
    pub from_date: Option<i64>,
    /// `toDate`, likewise
    pub to_date: Option<i64>,
}

impl Criteria {
    /// The query's parameters, in the order in which they are sent.
    pub fn parameters(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        // Written out in full so that a new criterion cannot be forgotten here.
        let Self {
            labels,
            workflow_urls,
            workflow_run_id,
            workflow_created_at,
            failure_function_states,
            caller_ips,
            flow_control_keys,
            from_date,
            to_date,
        } = self;
        let time = |name, at: &Option<i64>| at.map(|ms| (name, Cow::Owned(ms.to_string()))).into_iter();
        time("fromDate", from_date)
            .chain(time("toDate", to_date))
            .chain(texts("workflowUrl", workflow_urls))
            .chain(texts("workflowRunId", workflow_run_id))
            .chain(time("workflowCreatedAt", workflow_created_at))
            .chain(texts("label", labels))
            .chain(
                failure_function_states.iter().map(|state| ("failureFunctionState", Cow::Borrowed(*state))),
            )
            .chain(texts("callerIp", caller_ips))
            .chain(texts("flowControlKey", flow_control_keys))
            .collect()
    }

    /// How long each kind of parameter is in a query, in bytes.
    pub fn query_bytes(&self) -> BTreeMap<&'static str, usize> {
        let mut bytes = BTreeMap::new();
        for (name, value) in self.parameters() {
            *bytes.entry(name).or_default() += parameter_bytes(name, &value);
        }
        bytes
    }
}

/// What a bulk call acts on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// One page of the entries that match.
    Matching {
        /// Which entries.
        criteria: Criteria,
        /// Where the page begins; `None`: at the first entry.
        cursor: Option<Cursor>,
        /// The most entries to act on, the API's `count`.
        count: u32,
    },
    /// Exactly these entries. The API looks at no criterion and gives no cursor then.
    Ids(Vec<DlqId>),
}

/// Settings of the new workflow runs; `None` keeps the original.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `Upstash-Retries`
    pub retries: Option<u32>,
    /// `Upstash-Delay`, such as `10s`
    pub delay: Option<String>,
    /// `Upstash-Retry-Delay`, an expression
    pub retry_delay: Option<String>,
    /// `Upstash-Flow-Control-Key`
    pub flow_control_key: Option<String>,
    /// `Upstash-Flow-Control-Value`: `parallelism`
    pub parallelism: Option<u32>,
    /// `Upstash-Flow-Control-Value`: `rate`
    pub rate: Option<u32>,
    /// `Upstash-Flow-Control-Value`: `period`, such as `1m`
    pub period: Option<String>,
    /// `Upstash-Label`, separated by commas
    pub labels: Vec<String>,
    /// `Upstash-Failure-Callback`
    pub failure_callback: Option<String>,
}

/// How much of each entry a list is read for.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Detail {
    /// What tells whether a selection means it.
    #[default]
    Brief,
    /// Also the headers of the response that the failed call was answered with.
    Headers,
    /// Also the beginning of that response's body.
    Response,
}

/// One call of the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Call {
    /// Act on many entries.
    Bulk {
        /// What to do.
        action: Action,
        /// With which entries.
        selection: Selection,
        /// With which settings; not sent with `Delete`.
        overrides: Overrides,
    },
    /// Act on one entry.
    Single {
        /// What to do.
        action: Action,
        /// With which entry.
        id: DlqId,
        /// With which settings; not sent with `Delete`.
        overrides: Overrides,
    },
    /// Read one page of entries.
    List {
        /// Which entries.
        criteria: Criteria,
        /// Where the page begins.
        cursor: Option<Cursor>,
        /// The most entries to read, 1 to 100.
        count: u32,
        /// What is kept of each entry. The request is the same.
        detail: Detail,
    },
    /// Read one entry.
    Get {
        /// Which entry.
        id: DlqId,
    },
}

impl Call {
    /// What the call is, for metrics and logs.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Bulk { action: Action::Resume, .. } => Operation::BulkResume,
            Self::Bulk { action: Action::Restart, .. } => Operation::BulkRestart,
            Self::Bulk { action: Action::Delete, .. } => Operation::BulkDelete,
            Self::Single { action: Action::Resume, .. } => Operation::Resume,
            Self::Single { action: Action::Restart, .. } => Operation::Restart,
            Self::Single { action: Action::Delete, .. } => Operation::Delete,
            Self::List { .. } => Operation::List,
            Self::Get { .. } => Operation::Get,
        }
    }
}

/// A kind of call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// `POST /v2/workflows/dlq/resume`
    BulkResume,
    /// `POST /v2/workflows/dlq/restart`
    BulkRestart,
    /// `DELETE /v2/workflows/dlq`
    BulkDelete,
    /// `POST /v2/workflows/dlq/resume/{dlqId}`
    Resume,
    /// `POST /v2/workflows/dlq/restart/{dlqId}`
    Restart,
    /// `DELETE /v2/workflows/dlq/{dlqId}`
    Delete,
    /// `GET /v2/workflows/dlq`
    List,
    /// `GET /v2/workflows/dlq/{dlqId}`
    Get,
}

impl Operation {
    /// Whether the call changes the DLQ, so that a lost answer leaves its outcome unknown.
    pub fn acts(self) -> bool {
        !matches!(self, Self::List | Self::Get)
    }

    /// The name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BulkResume => "bulk_resume",
            Self::BulkRestart => "bulk_restart",
            Self::BulkDelete => "bulk_delete",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Get => "get",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an answer says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// How many entries were acted on: `workflowRuns.length` of a resume or restart, `deleted` of a delete; of a list
    /// or get, how many entries it shows.
    pub entries: u64,
    /// The IDs of the new workflow runs.
    pub workflow_run_ids: Vec<String>,
    /// The entries that a list or get shows, but for those without an ID that can be sent back.
    pub listed: Vec<ListedEntry>,
    /// Where the next page begins. `None`, and no empty text, when this was the last one.
    pub cursor: Option<Cursor>,
}

//! The API's vocabulary.

use std::fmt;

/// An ID of an entry in the DLQ.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DlqId(pub String);

/// Where the next page begins: opaque, given by the API, sent back as it came.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Cursor(pub String);

/// What to do with entries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Go on at the step that failed.
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
    /// Where the next page begins. `None`, and no empty text, when this was the last one.
    pub cursor: Option<Cursor>,
}

//! The operations of the API, and which method and path leads to each.

use std::borrow::Cow;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::{query, refusal::Refusal};

/// What is done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Resume,
    Restart,
    Delete,
}

/// What a call does. `Unknown` is every call that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    Resume,
    Restart,
    Delete,
    ResumeOne,
    RestartOne,
    DeleteOne,
    List,
    Get,
    Callback,
    CancelCallback,
    Unknown,
}

impl Operation {
    /// What it does to all entries that a filter selects.
    pub fn bulk_action(self) -> Option<Action> {
        match self {
            Self::Resume => Some(Action::Resume),
            Self::Restart => Some(Action::Restart),
            Self::Delete => Some(Action::Delete),
            _ => None,
        }
    }

    /// Whether its answer is a page, which can have a cursor.
    pub fn answers_in_pages(self) -> bool {
        self == Self::List || self.bulk_action().is_some()
    }

    /// Whether a read-only token may do it.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::List | Self::Get | Self::Unknown)
    }
}

/// Under which of its two paths the DLQ was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v2/workflows/dlq`: failed workflow runs.
    Workflows,
    /// `/v2/dlq`: the same entries as failed messages. Upstash's SDKs list here; it can do less, and filter by more.
    Messages,
}

/// Where a call leads. `entry` is the DLQ ID in the path, as it was sent: still percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    pub operation: Operation,
    pub endpoint: Endpoint,
    entry: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Finds the operation, or why there is none.
    pub fn find(method: &Method, path: &'a str) -> (Self, Option<Refusal>) {
        let (endpoint, rest) = match (path.strip_prefix("/v2/workflows/dlq"), path.strip_prefix("/v2/dlq")) {
            (Some(rest), _) => (Endpoint::Workflows, rest),
            (None, Some(rest)) => (Endpoint::Messages, rest),
            // No path has this end.
            (None, None) => (Endpoint::Workflows, "?"),
        };
        let unknown =
            |refusal| (Self { operation: Operation::Unknown, endpoint, entry: None }, Some(refusal));
        let segments: Vec<&str> = rest.split('/').collect();
        let known: &[(Method, Operation)] = match (endpoint, segments.as_slice()) {
            (_, [""]) => &[(Method::GET, Operation::List), (Method::DELETE, Operation::Delete)],
            (Endpoint::Workflows, ["", "resume"]) => &[(Method::POST, Operation::Resume)],
            (Endpoint::Workflows, ["", "restart"]) => &[(Method::POST, Operation::Restart)],
            (Endpoint::Workflows, ["", action, id]) if !id.is_empty() => match *action {
                "resume" => &[(Method::POST, Operation::ResumeOne)],
                "restart" => &[(Method::POST, Operation::RestartOne)],
                "callback" => {
                    &[(Method::POST, Operation::Callback), (Method::DELETE, Operation::CancelCallback)]
                }
                _ => &[],
            },
            // Publishing a message once more has no counterpart for a workflow run.
            (Endpoint::Messages, ["", "retry"]) => &[],
            (_, ["", id]) if !id.is_empty() => {
                &[(Method::GET, Operation::Get), (Method::DELETE, Operation::DeleteOne)]
            }
            _ => &[],
        };
        if known.is_empty() {
            return unknown(Refusal::not_found("no such route"));
        }
        match known.iter().find(|(candidate, _)| candidate == method) {
            Some((_, operation)) => {
                (Self { operation: *operation, endpoint, entry: segments.last().copied() }, None)
            }
            None => unknown(Refusal::method_not_allowed()),
        }
    }

    /// The DLQ ID in the path.
    pub fn dlq_id(&self) -> Result<Cow<'a, str>, Refusal> {
        query::decode(self.entry.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_endpoint_is_found() {
        for (method, path, operation) in [
            (Method::POST, "/v2/workflows/dlq/resume", Operation::Resume),
            (Method::POST, "/v2/workflows/dlq/restart", Operation::Restart),
            (Method::DELETE, "/v2/workflows/dlq", Operation::Delete),
            (Method::POST, "/v2/workflows/dlq/resume/1", Operation::ResumeOne),
            (Method::POST, "/v2/workflows/dlq/restart/1", Operation::RestartOne),
            (Method::DELETE, "/v2/workflows/dlq/1", Operation::DeleteOne),
            (Method::GET, "/v2/workflows/dlq", Operation::List),
            (Method::GET, "/v2/workflows/dlq/1", Operation::Get),
            (Method::POST, "/v2/workflows/dlq/callback/1", Operation::Callback),
            (Method::DELETE, "/v2/workflows/dlq/callback/1", Operation::CancelCallback),
            (Method::GET, "/v2/dlq", Operation::List),
            (Method::DELETE, "/v2/dlq", Operation::Delete),
            (Method::GET, "/v2/dlq/1", Operation::Get),
            (Method::DELETE, "/v2/dlq/1", Operation::DeleteOne),
        ] {
            let (route, refusal) = Route::find(&method, path);
            assert_eq!((route.operation, refusal), (operation, None), "{method} {path}");
        }
    }

    #[test]
    fn wrong_methods_and_unknown_paths_are_told_apart() {
        for (method, path, status) in [
            (Method::PUT, "/v2/workflows/dlq", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/v2/workflows/dlq/resume/1", StatusCode::METHOD_NOT_ALLOWED),
            (Method::DELETE, "/v2/workflows/dlq/resume/1", StatusCode::METHOD_NOT_ALLOWED),
            (Method::DELETE, "/v2/dlq/callback/1", StatusCode::NOT_FOUND),
            (Method::POST, "/v2/workflows/dlq/resume/1/2", StatusCode::NOT_FOUND),
            (Method::GET, "/v2/workflows/dlqs", StatusCode::NOT_FOUND),
            (Method::GET, "/v2/workflows/dlq/", StatusCode::NOT_FOUND),
            (Method::GET, "/", StatusCode::NOT_FOUND),
            (Method::POST, "/v2/dlq/resume", StatusCode::METHOD_NOT_ALLOWED),
            (Method::POST, "/v2/dlq/retry", StatusCode::NOT_FOUND),
            (Method::POST, "/v2/dlq/resume/1", StatusCode::NOT_FOUND),
        ] {
            let (_, refusal) = Route::find(&method, path);
            assert_eq!(refusal.map(|refusal| refusal.status), Some(status), "{method} {path}");
        }
    }

    #[test]
    fn the_id_in_a_path_is_percent_decoded() {
        let (route, _) = Route::find(&Method::GET, "/v2/workflows/dlq/a%2Fb");
        assert_eq!(route.dlq_id().as_deref(), Ok("a/b"));
    }
}

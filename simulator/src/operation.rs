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
    Unknown,
}

impl Operation {
    /// Whether its answer is a page, which can have a cursor.
    pub fn answers_in_pages(self) -> bool {
        matches!(self, Self::Resume | Self::Restart | Self::Delete | Self::List)
    }

    /// Whether a read-only token may do it.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::List | Self::Get | Self::Unknown)
    }
}

/// Where a call leads. `entry` is the DLQ ID in the path, as it was sent: still percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    pub operation: Operation,
    entry: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Finds the operation, or why there is none.
    pub fn find(method: &Method, path: &'a str) -> (Self, Option<Refusal>) {
        let unknown = |refusal| (Self { operation: Operation::Unknown, entry: None }, Some(refusal));
        let Some(rest) = path.strip_prefix("/v2/workflows/dlq") else {
            return unknown(Refusal::not_found("no such route"));
        };
        let segments: Vec<&str> = rest.split('/').skip(1).collect();
        let known: &[(Method, Operation)] =
            match (rest.is_empty() || rest.starts_with('/'), segments.as_slice()) {
                (true, []) => &[(Method::GET, Operation::List), (Method::DELETE, Operation::Delete)],
                (true, ["resume"]) => &[(Method::POST, Operation::Resume)],
                (true, ["restart"]) => &[(Method::POST, Operation::Restart)],
                (true, ["resume", id]) if !id.is_empty() => &[(Method::POST, Operation::ResumeOne)],
                (true, ["restart", id]) if !id.is_empty() => &[(Method::POST, Operation::RestartOne)],
                (true, ["callback", id]) if !id.is_empty() => &[(Method::POST, Operation::Callback)],
                (true, [id]) if !id.is_empty() => {
                    &[(Method::GET, Operation::Get), (Method::DELETE, Operation::DeleteOne)]
                }
                _ => &[],
            };
        if known.is_empty() {
            return unknown(Refusal::not_found("no such route"));
        }
        match known.iter().find(|(candidate, _)| candidate == method) {
            Some((_, operation)) => (Self { operation: *operation, entry: segments.last().copied() }, None),
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
            (Method::POST, "/v2/workflows/dlq/resume/1/2", StatusCode::NOT_FOUND),
            (Method::GET, "/v2/workflows/dlqs", StatusCode::NOT_FOUND),
            (Method::GET, "/v2/workflows/dlq/", StatusCode::NOT_FOUND),
            (Method::GET, "/", StatusCode::NOT_FOUND),
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

//! How the API says no: a status, and one sentence.

use http::StatusCode;

/// An answer of the kind `{"error": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub fn unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, message: "invalid or missing token".into() }
    }

    pub fn read_only() -> Self {
        Self { status: StatusCode::FORBIDDEN, message: "this token can only read".into() }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    pub fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, message: "method not allowed".into() }
    }

    pub fn quota_violated() -> Self {
        Self {
            status: StatusCode::PRECONDITION_FAILED,
            message: "quota exceeded: the plan allows no more for now".into(),
        }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, message: message.into() }
    }
}

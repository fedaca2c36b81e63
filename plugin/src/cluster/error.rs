//! What the API server refused, in words that name the way out.

use std::time::Duration;

use kube::core::Status;
use thiserror::Error;

use crate::outcome::Problem;

/// Why the cluster could not be asked, or refused.
#[derive(Debug, Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// The API server has no definitions of ours.
    #[error(
        "this cluster knows no DlqPolicy; install dlq-operator, whose chart brings the definitions, or name another cluster \
         with --context"
    )]
    NotInstalled,
    /// It has them in other versions only.
    #[error(
        "this cluster serves dlq-operator.dev in version {served}, and this plugin reads {ours}; install the plugin of the \
         operator's version"
    )]
    OtherVersion {
        /// What it serves.
        served: String,
        /// What is read here.
        ours: String,
    },
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The user may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// The user is not known.
    #[error(
        "the cluster does not accept your credentials; log in again, or name another user with --context ({0})"
    )]
    Unauthorized(String),
    /// No answer in time.
    #[error(
        "{url} did not answer within {}; try again, or wait longer with --request-timeout",
        crate::see::span(*.timeout)
    )]
    Timeout {
        /// The API server.
        url: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// No connection.
    #[error("cannot reach {url}: {cause}")]
    Unreachable {
        /// The API server.
        url: String,
        /// Why not.
        cause: String,
    },
    /// Another refusal.
    #[error("cannot {what}: {cause}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What the API server said.
        cause: String,
    },
}

impl Error {
    /// The API server does not know the resource.
    pub(super) fn unknown_resource(served: &[String], ours: &str) -> Self {
        if served.is_empty() || served.iter().any(|version| version == ours) {
            Self::NotInstalled
        } else {
            Self::OtherVersion { served: served.join(", "), ours: ours.to_owned() }
        }
    }

    /// What an error means; `what` was asked for, as in "cannot list policies".
    pub(super) fn of(error: kube::Error, what: &str, url: &str, namespace: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::answered(&status, what, namespace),
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                Self::Unreachable { url: url.to_owned(), cause: root(&error) }
            }
            kube::Error::Auth(_) => Self::Unauthorized(chain(&error)),
            error => Self::Refused { what: what.to_owned(), cause: chain(&error) },
        }
    }

    fn answered(status: &Status, what: &str, namespace: &str) -> Self {
        let said = status.message.trim().to_owned();
        match status.code {
            401 => Self::Unauthorized(said),
            // An admission policy refuses with its own words, and names the way out itself.
            403 if said.contains("denied") || said.contains("ValidatingAdmissionPolicy") => {
                Self::Refused { what: what.to_owned(), cause: said }
            }
            403 => Self::Forbidden(format!(
                "{said}; ask for the role view to see policies, or edit to act on them, as the operator's chart adds to both, or \
                 name another namespace with -n"
            )),
            404 => Self::NotFound(format!(
                "{said} in namespace {namespace}; kubectl dlq list -A shows the policies of all namespaces"
            )),
            409 => Self::Refused {
                what: what.to_owned(),
                cause: format!("{said}; it was changed or replaced meanwhile, so look at it again"),
            },
            _ => Self::Refused { what: what.to_owned(), cause: said },
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Whether the API server does not know the resource, rather than the object: it then names none.
pub(super) fn is_unknown_resource(status: &Status) -> bool {
    status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty())
}

/// An error and its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
        source = error.source();
    }
    said
}

/// The innermost cause, which says what happened to the connection.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

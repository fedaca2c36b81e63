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

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    fn refused(code: u16, message: &str, name: &str) -> Status {
        let details = StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        Status::failure(message, "").with_code(code).with_details(details)
    }

    #[test]
    fn every_refusal_names_the_way_out() {
        let said = |code, message: &str| {
            let error = kube::Error::Api(refused(code, message, "a").boxed());
            Error::of(error, "list policies", "https://10.0.0.1", "payments").to_string()
        };
        for (code, message, way_out) in [
            (401, "Unauthorized", "log in again"),
            (403, "User \"bob\" cannot list resource \"dlqpolicies\"", "ask for the role view"),
            (404, "dlqpolicies.dlq-operator.dev \"a\" not found", "kubectl dlq list -A"),
            (409, "Precondition failed: UID", "look at it again"),
            (500, "etcd is away", "cannot list policies: etcd is away"),
        ] {
            let said = said(code, message);
            assert!(said.contains(way_out) && said.contains(message), "{said}");
        }
        // Who may approve is decided by a policy of the API server, whose own message says what to do.
        let admission =
            said(403, "ValidatingAdmissionPolicy 'approvers' with binding 'a' denied request: ask a lead");
        assert!(admission.contains("ask a lead") && !admission.contains("role view"), "{admission}");
    }

    #[test]
    fn a_resource_that_is_not_known_is_told_from_an_object_that_is_not_there() {
        assert!(!is_unknown_resource(&refused(404, "not found", "a")));
        assert!(is_unknown_resource(&refused(404, "404 page not found", "")));
        assert!(is_unknown_resource(&Status::failure("404 page not found", "").with_code(404)));
        assert!(!is_unknown_resource(&refused(403, "no", "")));
        let of = |served: &[&str]| {
            Error::unknown_resource(
                &served.iter().map(|version| (*version).to_owned()).collect::<Vec<_>>(),
                "v1alpha1",
            )
        };
        assert!(matches!(of(&[]), Error::NotInstalled));
        assert!(matches!(of(&["v1alpha1"]), Error::NotInstalled), "its definitions are being installed");
        assert!(matches!(of(&["v1", "v1beta1"]), Error::OtherVersion { .. }));
    }
}

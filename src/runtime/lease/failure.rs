//! What can go wrong with a request about the lease, and what a person would do about it.

use std::time::Duration;

use tokio::time::timeout;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Somebody else wrote first: what is to be done has to be decided anew.
    #[error("somebody else wrote first")]
    Outdated,
    /// It may even have been carried out.
    #[error("{1}")]
    Trouble(Trouble, #[source] Error),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Kube(Box<kube::Error>),
    #[error("no answer in time")]
    Late,
}

/// What a person would do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    Unauthorized,
    Forbidden,
    NoNamespace,
    Unreadable,
    Refused(u16),
    Unavailable,
}

impl Trouble {
    pub(super) fn way_out(self) -> &'static str {
        match self {
            Self::Unauthorized => "give the operator credentials that are valid in this cluster",
            Self::Forbidden => {
                "allow the operator to get, create and update leases of coordination.k8s.io in this namespace"
            }
            Self::NoNamespace => "create the namespace, or name another with --lease-namespace",
            Self::Unreadable => "delete the lease: it cannot be read",
            Self::Refused(_) => "look at the lease: the API server does not take what is written to it",
            Self::Unavailable => "none needed once the API server answers again",
        }
    }
}

pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| Error::Kube(Box::new(error))),
        Err(_) => Err(Error::Late),
    }
}

pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Kube(error) => match &**error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        },
        Error::Late => None,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let trouble = match code(&error) {
            // Also what a create is answered when the lease is there by now.
            Some(409) => return Self::Outdated,
            Some(401) => Trouble::Unauthorized,
            Some(403) => Trouble::Forbidden,
            Some(429) => Trouble::Unavailable,
            Some(code) if code < 500 => Trouble::Refused(code),
            Some(_) => Trouble::Unavailable,
            None => match &error {
                Error::Kube(error) if matches!(**error, kube::Error::SerdeError(_)) => Trouble::Unreadable,
                _ => Trouble::Unavailable,
            },
        };
        Self::Trouble(trouble, error)
    }
}

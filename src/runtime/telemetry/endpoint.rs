//! Where traces go.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::Url;

const TRACES_PATH: &str = "v1/traces";

/// The address of a receiver of OTLP over HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtlpEndpoint(Url);

/// Why a text is no such address.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OtlpEndpointError {
    /// It is no URL.
    #[error("write a URL such as http://collector:4318")]
    Syntax(#[source] url::ParseError),
    /// It has another scheme.
    #[error("its scheme must be http or https, not {0}: write a URL such as http://collector:4318")]
    Scheme(String),
    /// It has a name or a password.
    #[error(
        "it must hold no name and no password: OTEL_EXPORTER_OTLP_HEADERS is for what the receiver asks for"
    )]
    UserInfo,
    /// It has a query or a fragment.
    #[error("it must have no query and no fragment")]
    Query,
    /// It is where gRPC is received.
    #[error(
        "port 4317 is for gRPC, and traces are sent over HTTP: the same receiver listens for it at port 4318"
    )]
    Grpc,
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpEndpointError;

    /// As `OTEL_EXPORTER_OTLP_ENDPOINT` is written: `/v1/traces` is added to its path, where it is not there.
    fn from_str(text: &str) -> Result<Self, OtlpEndpointError> {
        let mut url = Url::parse(text.trim()).map_err(OtlpEndpointError::Syntax)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OtlpEndpointError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OtlpEndpointError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(OtlpEndpointError::Query);
        }
        if url.port() == Some(4317) {
            return Err(OtlpEndpointError::Grpc);
        }
        let path = url.path().trim_end_matches('/');
        if !path.ends_with(&format!("/{TRACES_PATH}")) {
            let path = format!("{path}/{TRACES_PATH}");
            url.set_path(&path);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        for (given, used) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://a.example/otlp", "https://a.example/otlp/v1/traces"),
            ("https://a.example/otlp/v1/traces/", "https://a.example/otlp/v1/traces/"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(given.parse::<OtlpEndpoint>().unwrap().to_string(), used);
        }
    }

    #[test]
    fn what_nothing_can_be_sent_to_is_refused() {
        use OtlpEndpointError as Refused;
        let refused = |text: &str| text.parse::<OtlpEndpoint>().unwrap_err();
        assert!(matches!(refused("collector"), Refused::Syntax(_)));
        assert!(matches!(refused("http://"), Refused::Syntax(_)));
        assert_eq!(refused("collector:4318"), Refused::Scheme("collector".to_owned()));
        assert_eq!(refused("grpc://collector:4317"), Refused::Scheme("grpc".to_owned()));
        assert_eq!(refused("http://me:secret@collector:4318"), Refused::UserInfo);
        assert_eq!(refused("http://collector:4318/?key=secret"), Refused::Query);
        assert_eq!(refused("http://collector:4317"), Refused::Grpc);
    }

    #[test]
    fn a_refusal_does_not_repeat_what_may_be_a_password() {
        for text in ["http://me:secret@collector:4318", "http://collector/?key=secret"] {
            assert!(!text.parse::<OtlpEndpoint>().unwrap_err().to_string().contains("secret"));
        }
    }
}

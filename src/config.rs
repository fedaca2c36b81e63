//! Flags and environment, parsed and checked once.

mod leader_election;
mod values;

use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use url::Url;

use self::leader_election::LeaseFlags;
pub use self::leader_election::{LeaseConfig, LeaseError};
use self::values::{ActionFlag, SecretAccess, duration, names, positive_duration};
use crate::runtime::telemetry::{LogFormat, OtlpEndpoint, OtlpEndpointError, log_filter};
use dlq_crd::Action;
use dlq_policy::Permissions;
use dlq_policy::spec::permissions::{UPSTASH_URL, UPSTASH_URLS, UrlError, UrlPattern, base_url};
use dlq_upstash::Token;
use dlq_upstash::token::TokenError;

/// The flags of `dlq-operator run`. Each is also an environment variable: `--allowed-url` is
/// `DLQ_OPERATOR_ALLOWED_URL`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Flags {
    /// Namespaces whose policies are managed; none: all
    #[arg(long, env = "DLQ_OPERATOR_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    namespaces: Vec<String>,

    /// Label selector of the policies to manage
    #[arg(long, env = "DLQ_OPERATOR_SELECTOR")]
    selector: Option<String>,

    /// Base URLs that tokens may be sent to; `*` stands for a part of one host label
    #[arg(long = "allowed-url", env = "DLQ_OPERATOR_ALLOWED_URL", value_delimiter = ',', value_name = "URL",
        default_value = UPSTASH_URLS)]
    allowed_urls: Vec<UrlPattern>,

    /// Actions that policies may name; none: all
    #[arg(long, env = "DLQ_OPERATOR_ALLOWED_ACTIONS", value_delimiter = ',', value_name = "ACTION")]
    allowed_actions: Vec<ActionFlag>,

    /// URLs that `overrides.failureCallback` may point to, by scheme, host and port; none: any
    #[arg(
        long = "allowed-callback-url",
        env = "DLQ_OPERATOR_ALLOWED_CALLBACK_URL",
        value_delimiter = ',',
        value_name = "URL"
    )]
    allowed_callback_urls: Vec<UrlPattern>,

    /// Namespaces whose policies may use the operator's own connection; none: the operator's own namespace
    #[arg(
        long,
        env = "DLQ_OPERATOR_DEFAULT_CONNECTION_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    default_connection_namespaces: Vec<String>,

    /// How many runs may be at work at once
    #[arg(long, env = "DLQ_OPERATOR_MAX_CONCURRENT_RUNS", default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..))]
    max_concurrent_runs: u16,

    /// How many of them with one connection
    #[arg(long, env = "DLQ_OPERATOR_MAX_RUNS_PER_CONNECTION", default_value_t = 16, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..))]
    max_runs_per_connection: u16,

    /// How much time may pass between two writes of a run's counts and cursor; 0: write after every page
    #[arg(long, env = "DLQ_OPERATOR_CHECKPOINT_INTERVAL", default_value = "1s", value_parser = duration,
        value_name = "DURATION")]
    checkpoint_interval: Duration,

    /// How long one call to Upstash may take
    #[arg(long, env = "DLQ_OPERATOR_REQUEST_TIMEOUT", default_value = "10s", value_parser = positive_duration,
        value_name = "DURATION")]
    request_timeout: Duration,

    /// How many calls in a row may fail before a run does
    #[arg(long, env = "DLQ_OPERATOR_RETRY_LIMIT", default_value_t = 10, value_name = "N")]
    retry_limit: u32,

    /// Hold every policy
    #[arg(long, env = "DLQ_OPERATOR_PAUSE_ALL", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pause_all: bool,

    /// Make every new run a dry run and cancel acting ones
    #[arg(long, env = "DLQ_OPERATOR_FORCE_DRY_RUN", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    force_dry_run: bool,

    /// How Secrets are read: `get`, by name and when a policy needs one; `watch`, their metadata too, so that who waits for
    /// a Secret continues at once
    #[arg(long, env = "DLQ_OPERATOR_SECRET_ACCESS", value_enum, default_value = "get")]
    secret_access: SecretAccess,

    #[command(flatten)]
    lease: LeaseFlags,

    /// Where `/livez`, `/readyz` and `/metrics` are served
    #[arg(long, env = "DLQ_OPERATOR_ADMIN_ADDRESS", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin_address: SocketAddr,

    /// How log lines look
    #[arg(long, env = "DLQ_OPERATOR_LOG_FORMAT", value_enum, default_value = "json")]
    log_format: LogFormat,

    /// Which log lines are written: a level, or a filter such as `info,dlq_operator=debug`
    #[arg(long, env = "DLQ_OPERATOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,

    /// Log the new workflow runs of each acknowledged page: on or off
    #[arg(long, env = "DLQ_OPERATOR_AUDIT_LOG", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
        default_value = "on", value_name = "SWITCH")]
    audit_log: bool,

    /// Where traces go: the URL of a receiver of OTLP over HTTP, such as `http://collector:4318`; none: nowhere
    #[arg(long, env = "DLQ_OPERATOR_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,

    /// Write the metrics of single policies, with their namespace and name as labels: on, or off for sums alone
    #[arg(long, env = "DLQ_OPERATOR_PER_POLICY_METRICS", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, default_value = "on", value_name = "SWITCH")]
    per_policy_metrics: bool,

    /// Let policies use a `ClusterDlqConnection`: on, or off where the operator may not read these and the labels of namespaces
    #[arg(long, env = "DLQ_OPERATOR_CLUSTER_CONNECTIONS", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, default_value = "on", value_name = "SWITCH")]
    cluster_connections: bool,
}

/// What comes from the environment alone: a token on a command line could be read by anybody on the machine, and a
/// parser of flags would print one that it cannot read.
#[derive(Debug, Default)]
pub struct Environment {
    /// `QSTASH_URL`: the base URL of the operator's own connection, and of policies that name none.
    pub qstash_url: Option<String>,
    /// `QSTASH_TOKEN`: the token of the operator's own connection.
    pub qstash_token: Option<SecretString>,
    /// `POD_NAME`: names the holder of this process' runs.
    pub pod_name: Option<String>,
    /// `POD_NAMESPACE`: the operator's namespace.
    pub pod_namespace: Option<String>,
}

impl Environment {
    /// Reads the process' environment. What is set to nothing is not set.
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
        let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            qstash_url: value("QSTASH_URL"),
            qstash_token: value("QSTASH_TOKEN").map(SecretString::from),
            pod_name: value("POD_NAME"),
            pod_namespace: value("POD_NAMESPACE"),
        }
    }
}

/// What the operator runs with.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug)]
pub struct Config {
    /// Namespaces to watch; empty: all.
    pub namespaces: Vec<String>,
    /// Label selector of the policies to watch.
    pub selector: Option<String>,
    /// What policies may do.
    pub permissions: Permissions,
    /// The operator's own connection.
    pub default_connection: Option<(Url, Token)>,
    /// Slots for runs at work.
    pub max_concurrent_runs: u16,
    /// Slots for runs at work with one connection.
    pub max_runs_per_connection: u16,
    /// Time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Time for one call.
    pub request_timeout: Duration,
    /// Calls in a row that may fail.
    pub retry_limit: u32,
    /// Whether the metadata of Secrets is watched.
    pub watch_secrets: bool,
    /// Whether pages are logged for audit.
    pub audit: bool,
    /// Whether metrics tell policies apart.
    pub per_policy_metrics: bool,
    /// Whether policies may use cluster-wide connections.
    pub cluster_connections: bool,
    /// The lease of the leader; none: nobody is elected, and this process always acts.
    pub lease: Option<LeaseConfig>,
    /// Address of the admin server.
    pub admin_address: SocketAddr,
    /// Log format.
    pub log_format: LogFormat,
    /// Log filter.
    pub log_level: String,
    /// Where traces go; none: nowhere.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// The pod, or another name for this process.
    pub pod_name: String,
}

/// A flag whose value cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `QSTASH_URL`.
    #[error("QSTASH_URL {1:?} cannot be used")]
    Url(#[source] UrlError, String),
    /// `QSTASH_TOKEN`.
    #[error("QSTASH_TOKEN cannot be used")]
    Token(#[from] TokenError),
    /// `--log-level`.
    #[error("--log-level {1:?} cannot be used")]
    LogLevel(#[source] tracing_subscriber::filter::ParseError, String),
    /// A flag of the leader election.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// `--otlp-endpoint`. The value is not shown: people write passwords into URLs.
    #[error("--otlp-endpoint cannot be used")]
    OtlpEndpoint(#[from] OtlpEndpointError),
}

impl Config {
    /// Checks what flags and environment say.
    ///
    /// # Errors
    /// Names the flag or variable that cannot be used. Never shows a token.
    pub fn new(flags: Flags, environment: Environment) -> Result<Self, ConfigError> {
        // Written out in full so that a new flag cannot be forgotten here.
        let Flags {
            namespaces,
            selector,
            allowed_urls,
            allowed_actions,
            allowed_callback_urls,
            default_connection_namespaces,
            max_concurrent_runs,
            max_runs_per_connection,
            checkpoint_interval,
            request_timeout,
            retry_limit,
            secret_access,
            pause_all,
            force_dry_run,
            lease,
            admin_address,
            log_format,
            log_level,
            audit_log,
            otlp_endpoint,
            per_policy_metrics,
            cluster_connections,
        } = flags;
        let Environment { qstash_url, qstash_token, pod_name, pod_namespace } = environment;
        let is_given = qstash_url.is_some();
        let url = qstash_url.unwrap_or_else(|| UPSTASH_URL.to_owned());
        let default_url = base_url(&url).map_err(|error| ConfigError::Url(error, url))?;
        log_filter(&log_level).map_err(|error| ConfigError::LogLevel(error, log_level.clone()))?;
        let mut urls = allowed_urls;
        // Only where its owner names it: --allowed-url can exclude Upstash's own.
        urls.extend(is_given.then(|| default_url.clone().into()));
        let namespaces = names(&namespaces);
        let selector = selector.filter(|selector| !selector.is_empty());
        let lease = lease.config(&namespaces, selector.as_deref(), pod_namespace.as_deref())?;
        let mut own_namespaces = names(&default_connection_namespaces);
        if own_namespaces.is_empty() {
            own_namespaces.extend(pod_namespace);
        }
        let token = qstash_token.map(|token| Token::parse(token.expose_secret())).transpose()?;
        let default_connection = token.map(|token| (default_url.clone(), token));
        if default_connection.is_none() {
            own_namespaces.clear();
        }
        Ok(Self {
            namespaces,
            selector,
            permissions: Permissions {
                urls,
                actions: allowed_actions
                    .into_iter()
                    .map(|action| match action {
                        ActionFlag::Resume => Action::Resume,
                        ActionFlag::Restart => Action::Restart,
                        ActionFlag::Delete => Action::Delete,
                    })
                    .collect(),
                callback_urls: allowed_callback_urls,
                default_url,
                default_connection_namespaces: own_namespaces,
                pause_all,
                force_dry_run,
            },
            default_connection,
            max_concurrent_runs,
            max_runs_per_connection,
            checkpoint_interval,
            request_timeout,
            retry_limit,
            watch_secrets: secret_access == SecretAccess::Watch,
            audit: audit_log,
            per_policy_metrics,
            cluster_connections,
            lease,
            admin_address,
            log_format,
            log_level,
            otlp_endpoint: otlp_endpoint
                .filter(|endpoint| !endpoint.trim().is_empty())
                .map(|endpoint| endpoint.parse())
                .transpose()?,
            pod_name: pod_name.unwrap_or_else(|| "dlq-operator".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(arguments: &[&str]) -> Flags {
        Line::try_parse_from(["dlq-operator"].iter().chain(arguments)).unwrap().flags
    }

    fn config(arguments: &[&str]) -> Config {
        Config::new(flags(arguments), Environment::default()).unwrap()
    }

    fn operator(token: Option<&str>) -> Environment {
        Environment {
            qstash_token: token.map(SecretString::from),
            pod_namespace: Some("ops".to_owned()),
            ..Environment::default()
        }
    }

    fn refuses(arguments: &[&str]) -> bool {
        Line::try_parse_from(["dlq-operator"].iter().chain(arguments)).is_err()
    }

    #[test]
    fn the_three_regions_are_allowed_unless_urls_are_given() {
        let allowed = |config: &Config, url: &str| {
            let url = url.parse().unwrap();
            config.permissions.urls.iter().any(|pattern| pattern.matches(&url))
        };
        let config_ = config(&[]);
        assert!(allowed(&config_, "https://qstash-us-east-1.upstash.io"));
        assert!(!allowed(&config_, "https://other.example"));
        let config_ = config(&[
            "--allowed-url",
            "https://a.example,https://b.example",
            "--allowed-url",
            "http://c.example:1",
        ]);
        for url in ["https://a.example", "https://b.example", "http://c.example:1"] {
            assert!(allowed(&config_, url), "{url}");
        }
        for url in ["https://qstash-us-east-1.upstash.io", "https://qstash.upstash.io"] {
            assert!(!allowed(&config_, url), "{url}");
        }
    }

    #[test]
    fn what_nobody_sets_is_as_documented() {
        let config = config(&[]);
        assert_eq!((config.max_concurrent_runs, config.max_runs_per_connection), (64, 16));
        assert_eq!(config.checkpoint_interval, Duration::from_secs(1));
        assert_eq!((config.request_timeout, config.retry_limit), (Duration::from_secs(10), 10));
        assert!(config.audit && config.lease.is_none() && !config.permissions.pause_all);
    }

    #[test]
    fn what_is_on_by_default_is_switched_off_by_any_usual_word() {
        assert!(config(&[]).per_policy_metrics && config(&[]).audit);
        for (argument, is_on) in
            [("on", true), ("off", false), ("true", true), ("false", false), ("1", true), ("0", false)]
        {
            assert_eq!(config(&["--per-policy-metrics", argument]).per_policy_metrics, is_on, "{argument}");
            assert_eq!(config(&["--audit-log", argument]).audit, is_on, "{argument}");
            let cluster_wide = config(&["--cluster-connections", argument]).cluster_connections;
            assert_eq!(cluster_wide, is_on, "{argument}");
        }
        assert!(refuses(&["--per-policy-metrics=some"]) && refuses(&["--audit-log=some"]));
    }

    #[test]
    fn the_default_connection_is_for_the_operators_own_namespace() {
        let namespaces = |arguments: &[&str], token| {
            let config = Config::new(flags(arguments), operator(token)).unwrap();
            config.permissions.default_connection_namespaces
        };
        assert!(namespaces(&[], None).is_empty(), "without a token there is no default connection");
        assert_eq!(namespaces(&[], Some("t")), ["ops"]);
        assert_eq!(namespaces(&["--default-connection-namespaces", "a,b"], Some("t")), ["a", "b"]);
    }

    #[test]
    fn the_url_of_the_default_connection_is_itself_allowed() {
        let environment =
            Environment { qstash_url: Some("http://127.0.0.1:9".to_owned()), ..Environment::default() };
        let permissions = Config::new(flags(&[]), environment).unwrap().permissions;
        assert!(permissions.urls.iter().any(|pattern| pattern.matches(&permissions.default_url)));
    }

    #[test]
    fn durations_are_written_with_their_unit() {
        assert_eq!(config(&["--checkpoint-interval", "0"]).checkpoint_interval, Duration::ZERO);
        assert_eq!(
            config(&["--checkpoint-interval", "250ms"]).checkpoint_interval,
            Duration::from_millis(250)
        );
        assert!(refuses(&["--request-timeout", "0s"]));
        assert!(refuses(&["--request-timeout", "10"]));
    }

    #[test]
    fn traces_go_nowhere_unless_they_are_told_where() {
        for arguments in [&[][..], &["--otlp-endpoint", ""]] {
            assert_eq!(config(arguments).otlp_endpoint, None);
        }
        let config = config(&["--otlp-endpoint", "http://collector:4318"]);
        assert_eq!(config.otlp_endpoint.unwrap().to_string(), "http://collector:4318/v1/traces");
    }

    #[test]
    fn an_empty_list_of_namespaces_is_none_and_each_is_watched_once() {
        assert!(config(&["--namespaces", ""]).namespaces.is_empty());
        assert_eq!(config(&["--namespaces", "b,a, b,"]).namespaces, ["a", "b"]);
        let blank =
            Config::new(flags(&["--default-connection-namespaces", ""]), operator(Some("t"))).unwrap();
        assert_eq!(blank.permissions.default_connection_namespaces, ["ops"]);
    }

    #[test]
    fn switches_are_set_by_their_name_or_with_a_value() {
        for (arguments, on) in [(&[][..], false), (&["--pause-all"], true), (&["--pause-all=false"], false)] {
            assert_eq!(config(arguments).permissions.pause_all, on, "{arguments:?}");
        }
        assert!(config(&["--force-dry-run=1"]).permissions.force_dry_run);
    }

    #[test]
    fn bad_values_are_refused() {
        assert!(refuses(&["--allowed-url", "https://a.example/path"]));
        assert!(refuses(&["--allowed-actions", "purge"]));
        assert!(refuses(&["--max-concurrent-runs", "0"]));
    }

    #[test]
    fn the_lease_is_named_after_the_work_that_is_shared() {
        let lease = |arguments: &[&str]| {
            let flags = flags(&[&["--leader-elect"], arguments].concat());
            Config::new(flags, operator(None)).unwrap().lease.unwrap()
        };
        assert_eq!(lease(&[]).namespace, "ops");
        assert_eq!(lease(&["--namespaces=", "--selector="]).name, "dlq-operator");
        let shared = lease(&["--namespaces=b,a"]).name;
        assert_eq!(lease(&["--namespaces=a, b,a"]).name, shared);
        assert_ne!(lease(&["--namespaces=b,a", "--selector=x"]).name, shared);
        let error = Config::new(flags(&["--lease-name=No"]), operator(None)).unwrap_err();
        assert!(error.to_string().contains("--lease-name"), "{error}");
    }

    #[test]
    fn neither_debug_nor_an_error_shows_the_token() {
        let environment = operator(Some("hunter2"));
        assert!(!format!("{environment:?}").contains("hunter2"));
        assert!(!format!("{:?}", Config::new(flags(&[]), environment).unwrap()).contains("hunter2"));
        let error = Config::new(flags(&[]), operator(Some("hunter2 "))).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

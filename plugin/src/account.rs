//! Where the token comes from, and where it may go.
//!
//! A policy file may come from a pull request: it must not choose where a token is sent. The rule is the operator's own,
//! [`Permissions`] and the validation of a policy against them.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::outcome::Problem;
use dlq_policy::Permissions;
use dlq_policy::spec::permissions::{UPSTASH_URL, UPSTASH_URLS, UrlPattern, base_url};
use dlq_upstash::Token;
use dlq_upstash::token::TokenError;

/// Which account to talk to. A token on a command line could be read by anybody on the machine, so there is no flag for one.
#[derive(Args, Debug)]
#[command(next_help_heading = "Upstash account")]
pub struct AccountArgs {
    /// A file that holds the token; without it, the token is read from `QSTASH_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    destinations: Destinations,
}

/// Where a token may be sent.
#[derive(Args, Debug)]
#[command(next_help_heading = "Upstash account")]
pub struct Destinations {
    /// A base URL that the token may be sent to, beside Upstash's own and `QSTASH_URL`; `*` stands for a part of one host label; can be
    /// repeated
    #[arg(long = "allowed-url", value_name = "URL")]
    allowed_urls: Vec<UrlPattern>,
}

/// What the environment says, as Upstash's SDKs read it.
#[derive(Debug, Default)]
pub struct Environment {
    /// `QSTASH_URL`: the base URL of policies that name none.
    pub url: Option<String>,
    /// `QSTASH_TOKEN`, or why it can be none: not every command needs it.
    pub token: Option<Result<Token, TokenError>>,
}

impl Environment {
    /// Reads the process' environment. What is set to nothing is not set.
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
        let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { url: value("QSTASH_URL"), token: value("QSTASH_TOKEN").map(|text| Token::parse(&text)) }
    }
}

impl AccountArgs {
    /// Where tokens may be sent.
    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// The token: of the file, else of the environment.
    ///
    /// # Errors
    /// There is none, or the file cannot be read. Never shows what is in it.
    pub fn token(&self, environment: Environment) -> Result<Token, Problem> {
        let Some(path) = &self.token_file else {
            let token = environment.token.ok_or_else(|| {
                let what =
                    "there is no token: set QSTASH_TOKEN, or name a file that holds one with --token-file";
                Problem::Failed(what.to_owned())
            })?;
            return token.map_err(|error| Problem::Failed(format!("QSTASH_TOKEN cannot be used: {error}")));
        };
        let name = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Problem::Failed(format!("--token-file {name} cannot be read: {error}")))?;
        Token::parse(&text)
            .map_err(|error| Problem::Failed(format!("--token-file {name} holds no token: {error}")))
    }
}

impl Destinations {
    /// What policies may do here: anything, as the token is the person's own, but send it anywhere.
    ///
    /// # Errors
    /// `QSTASH_URL` is no base URL.
    pub fn permissions(&self, environment: &Environment, namespace: &str) -> Result<Permissions, Problem> {
        let text = environment.url.as_deref().unwrap_or(UPSTASH_URL);
        let default_url = base_url(text)
            .map_err(|error| Problem::Failed(format!("QSTASH_URL {text:?} cannot be used: {error}")))?;
        let known = UPSTASH_URLS.split(',').filter_map(|url| url.parse().ok());
        Ok(Permissions {
            urls: known
                .chain([default_url.clone().into()])
                .chain(self.allowed_urls.iter().cloned())
                .collect(),
            actions: Vec::new(),
            callback_urls: Vec::new(),
            default_url,
            default_connection_namespaces: vec![namespace.to_owned()],
            pause_all: false,
            force_dry_run: false,
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
        account: AccountArgs,
    }

    fn account(arguments: &[&str]) -> AccountArgs {
        Line::try_parse_from(["dlq"].iter().chain(arguments)).unwrap().account
    }

    fn permissions(arguments: &[&str], url: Option<&str>) -> Result<Permissions, Problem> {
        let environment = Environment { url: url.map(str::to_owned), token: None };
        account(arguments).destinations().permissions(&environment, "payments")
    }

    fn goes_to(arguments: &[&str], own: Option<&str>, url: &str) -> bool {
        permissions(arguments, own).unwrap().allows_url(&url.parse().unwrap())
    }

    #[test]
    fn a_token_goes_to_upstash_to_qstash_url_and_to_what_is_allowed_and_nowhere_else() {
        for url in UPSTASH_URLS.split(',') {
            assert!(goes_to(&[], None, url), "{url}");
        }
        let other = "http://127.0.0.1:8080";
        assert!(!goes_to(&[], None, other));
        assert!(goes_to(&[], Some(other), other));
        assert!(goes_to(&["--allowed-url", "http://a.example", "--allowed-url", other], None, other));
        assert!(!goes_to(&["--allowed-url", "http://127.0.0.1:8081"], None, other));
        assert!(
            goes_to(&["--allowed-url", other], None, "https://qstash.upstash.io"),
            "its own stay allowed"
        );
    }

    #[test]
    fn a_policy_without_a_url_means_qstash_url_else_upstash() {
        assert_eq!(permissions(&[], None).unwrap().default_url.as_str(), "https://qstash.upstash.io/");
        assert_eq!(
            permissions(&[], Some("http://a.example")).unwrap().default_url.as_str(),
            "http://a.example/"
        );
        let problem = permissions(&[], Some("http://a.example/path")).unwrap_err().to_string();
        assert!(problem.starts_with("QSTASH_URL"), "{problem}");
    }

    #[test]
    fn there_is_no_flag_for_a_token() {
        assert!(Line::try_parse_from(["dlq", "--token", "secret"]).is_err());
    }

    #[test]
    fn a_missing_token_is_told_with_the_ways_to_give_one() {
        let problem = account(&[]).token(Environment::default()).unwrap_err().to_string();
        assert!(problem.contains("QSTASH_TOKEN") && problem.contains("--token-file"), "{problem}");
    }
}

//! The command line.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use clap::Parser;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    refusal::Refusal,
    server::Server,
    service::Order,
    simulator::{NewToken, SeedFile, Simulator},
};

/// The token that is known when no other is.
const DEMO_TOKEN: &str = "demo";

const AFTER_HELP: &str = "\
It prints one line of JSON once both ports are bound, {\"api\": URL, \"admin\": URL}, and serves until SIGTERM or SIGINT.
The admin API seeds entries, sets faults and tells what happened. simulator/README.md describes it, and the seed file.

Examples:
  dlq-simulator --token alice:a --token auditor:a:ro
  dlq-simulator --listen 127.0.0.1:0 --admin 127.0.0.1:0 --seed-file simulator/seed.example.json
  curl -X POST http://127.0.0.1:8082/dlqs/demo/entries -d '{\"generate\": {\"count\": 100}}'
  curl -H 'Authorization: Bearer demo' http://127.0.0.1:8081/v2/workflows/dlq?count=1
  curl http://127.0.0.1:8082/dlqs/demo/ledger";

/// Upstash Workflow's DLQ API in memory, with faults on demand.
#[derive(Debug, Parser)]
#[command(name = "dlq-simulator", version, after_help = AFTER_HELP)]
pub struct Options {
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where the admin API listens.
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// A token, the DLQ it opens (its own name when left out), and whether it can only read. Can be repeated.
    #[arg(long = "token", value_name = "NAME[:DLQ][:ro]")]
    pub tokens: Vec<TokenOption>,
    /// In which order calls list entries and act on them, in every DLQ that is given no other.
    #[arg(long, value_enum, default_value_t, value_name = "ORDER")]
    pub order: Order,
    /// A JSON file with tokens, entries, refail rules, lags, switches and faults to start with.
    #[arg(long, value_name = "FILE")]
    pub seed_file: Option<PathBuf>,
}

/// A token as `NAME[:DLQ][:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOption {
    name: String,
    dlq: Option<String>,
    read_only: bool,
}

/// A token that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected NAME[:DLQ][:ro]")]
pub struct InvalidToken;

impl FromStr for TokenOption {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (rest, read_only) = text.strip_suffix(":ro").map_or((text, false), |rest| (rest, true));
        let (name, dlq) = rest.split_once(':').map_or((rest, None), |(name, dlq)| (name, Some(dlq)));
        if name.is_empty() || dlq.is_some_and(|dlq| dlq.is_empty() || dlq.contains(':')) {
            return Err(InvalidToken);
        }
        Ok(Self { name: name.into(), dlq: dlq.map(Into::into), read_only })
    }
}

/// Why the simulator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the seed file: {0}")]
    ReadSeedFile(io::Error),
    #[error("cannot understand the seed file: {0}")]
    ParseSeedFile(serde_json::Error),
    #[error("cannot apply the seed file: {0}")]
    ApplySeedFile(Refusal),
    #[error("cannot bind: {0}")]
    Bind(io::Error),
    #[error("cannot announce the addresses: {0}")]
    Announce(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot serve: {0}")]
    Serve(io::Error),
}

/// Starts the simulator, says where it listens, and serves until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<(), Error> {
    let simulator = Arc::new(Simulator::with_order(options.order));
    let seeded = seeds_tokens(&options, &simulator)?;
    let nothing_known = options.tokens.is_empty() && !seeded;
    for token in options.tokens {
        simulator.put_token(token.name, NewToken { dlq: token.dlq, read_only: token.read_only });
    }
    if nothing_known {
        simulator.put_token(DEMO_TOKEN.into(), NewToken::default());
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let server = Server::bind(options.listen, options.admin, simulator).await.map_err(Error::Bind)?;
    announce(&server).map_err(Error::Announce)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.serve(stop).await.map_err(Error::Serve)
}

/// Applies the seed file, if there is one, and says whether it brought tokens.
fn seeds_tokens(options: &Options, simulator: &Simulator) -> Result<bool, Error> {
    let Some(path) = &options.seed_file else { return Ok(false) };
    let text = std::fs::read(path).map_err(Error::ReadSeedFile)?;
    let file: SeedFile = serde_json::from_slice(&text).map_err(Error::ParseSeedFile)?;
    let has_tokens = !file.tokens.is_empty();
    simulator.apply(file).map_err(Error::ApplySeedFile)?;
    Ok(has_tokens)
}

#[derive(Serialize)]
struct Addresses {
    api: String,
    admin: String,
}

/// One line of JSON on standard output, for whoever started the process.
fn announce(server: &Server) -> io::Result<()> {
    let addresses = Addresses { api: server.api_url()?, admin: server.admin_url()? };
    let line = serde_json::to_string(&addresses)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, dlq: Option<&str>, read_only: bool) -> TokenOption {
        TokenOption { name: name.into(), dlq: dlq.map(Into::into), read_only }
    }

    #[test]
    fn tokens_name_a_dlq_and_whether_they_only_read() {
        assert_eq!("t".parse(), Ok(token("t", None, false)));
        assert_eq!("t:a".parse(), Ok(token("t", Some("a"), false)));
        assert_eq!("t:a:ro".parse(), Ok(token("t", Some("a"), true)));
        assert_eq!("t:ro".parse(), Ok(token("t", None, true)));
    }

    #[test]
    fn unreadable_tokens_are_refused() {
        for text in ["", ":a", "t:", "t:a:b", "t:a:rw"] {
            assert_eq!(text.parse::<TokenOption>(), Err(InvalidToken), "{text}");
        }
    }
}

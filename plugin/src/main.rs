//! The `kubectl-dlq` binary, which kubectl runs as `kubectl dlq`.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    kubectl_dlq::cli::main(kubectl_dlq::cli::Cli::parse()).await
}

//! The `dlq-operator` binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    dlq_operator::cli::main(dlq_operator::cli::Cli::parse())
}

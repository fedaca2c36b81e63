//! `testbed demo`: the operator at work, on one machine and offline. `testbed node`: a cluster of one node. `testbed build`: what the
//! tests start, before they do. `testbed control-plane`: the part of it that the bench starts. `testbed forward`: what carries
//! connections into a node's namespaces and out of them.

mod demo;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use testbed::{Assets, Helm, Node, forward};
use tokio::signal::unix::{SignalKind, signal};

/// Runs dlq-operator against a real Kubernetes API server and a simulated Upstash.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the examples to a filled DLQ, and show what becomes of them.
    Demo {
        /// End once every policy has run, and fail if one did not or if its run failed.
        #[arg(long)]
        once: bool,
    },
    /// Build what the tests start, where it is not built yet: control plane, node, Helm and the oldest supported Helm.
    Build,
    /// Build etcd, kube-apiserver and kubectl where they are not built yet, and print the folder with them.
    ControlPlane,
    /// Run a cluster of one node, with the images of this checkout, until Ctrl-C.
    Node,
    /// Forward connections, inside the namespaces of a node.
    #[command(hide = true)]
    Forward {
        /// Where to listen; without it stdin is a socket that listens.
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// An address, or the path of a Unix socket.
        to: String,
    },
}

#[expect(clippy::print_stderr, reason = "this is where a command's errors go")]
fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        // Whatever the demo has started is dropped, and with that stopped, when a signal comes first.
        tokio::select! {
            outcome = command(&cli.command) => outcome,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    });
    // A build that continues in a thread is not waited for: the reaper stops it.
    runtime.shutdown_background();
    outcome
}

async fn command(command: &Command) -> Result<()> {
    match command {
        Command::Demo { once } => demo::run(*once).await,
        Command::Build => build().await,
        Command::ControlPlane => control_plane().await,
        Command::Node => node().await,
        Command::Forward { from, to } => forward(from.as_deref(), to.as_str().into()).await,
    }
}

async fn build() -> Result<()> {
    let no_cluster = Path::new("/dev/null");
    Assets::find().await?;
    Helm::new(no_cluster).await?;
    Helm::oldest(no_cluster).await?;
    if Node::is_possible()? {
        Node::build().await?;
    }
    Ok(())
}

async fn control_plane() -> Result<()> {
    let assets = Assets::find().await?;
    let etcd = assets.etcd();
    let folder = etcd.parent().context("etcd is in no folder")?;
    writeln!(std::io::stdout(), "{}", folder.display()).context("print where the control plane is")
}

async fn node() -> Result<()> {
    ensure!(Node::is_possible()?, "no node can run here");
    let node = Node::start().await?;
    let (loader, args) = node.image_loader()?;
    let control_plane = node.control_plane();
    writeln!(
        std::io::stdout(),
        "The node is ready, and has the images of this checkout. As root, in another terminal:\n\n  \
         export KUBECONFIG={kubeconfig}\n  \
         export PATH={kubectl}:$PATH\n  \
         export LOAD_IMAGE='{loader} {args}'\n  \
         kubectl get pods --all-namespaces\n\n\
         Ctrl-C ends it and removes everything.",
        kubeconfig = control_plane.kubeconfig().display(),
        kubectl = control_plane.kubectl_binary().parent().unwrap_or(Path::new(".")).display(),
        loader = loader.display(),
        args = args.join(" "),
    )
    .context("print where the node is")?;
    std::future::pending().await
}

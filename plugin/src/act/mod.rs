//! Commands that act: they ask the operator for something by an annotation, or change the spec.

mod announce;
pub mod approve;
pub mod change;
mod follow;
mod run;
mod summary;

use clap::Args;

#[cfg(test)]
pub(crate) use self::announce::run as announced_run;
pub use self::announce::{Announcement, Verb};
pub use self::approve::approve;
pub use self::run::{RunArgs, run};
use crate::clock;
use crate::cluster::{Cluster, ClusterArgs, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Consent, consent};

/// The policy to act on.
#[derive(Args, Debug)]
pub struct ActArgs {
    /// The policy's name
    pub name: String,

    #[command(flatten)]
    pub consent: Consent,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `kubectl dlq pause`.
#[derive(Args, Debug)]
pub struct PauseArgs {
    /// Why, such as incident-7: the value of the annotation
    #[arg(long, value_name = "TEXT", default_value = "true", value_parser = pause_reason)]
    pub reason: String,

    #[command(flatten)]
    pub act: ActArgs,
}

fn pause_reason(text: &str) -> Result<String, String> {
    if matches!(text, "" | "false") {
        return Err(
            "an empty text and false mean that nothing is paused; give another reason, or use unpause"
                .to_owned(),
        );
    }
    change::annotation_value(text)
}

/// Holds a policy by annotation.
pub async fn pause(args: &PauseArgs) -> Result<Outcome, Problem> {
    act(Verb::Pause { reason: args.reason.clone() }, &args.act).await
}

/// Says what is about to be done, asks, and does it.
pub async fn act(verb: Verb, args: &ActArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let policy = cluster.policy(&args.name).await?;
    let now = clock::now();
    if agreed(verb.announcement(&policy, now), args.consent).await? {
        let changed = cluster.patch(&policy, &change::patch(&verb, now)).await?;
        terminal::print(&format!("{} {}\n", full_name(&changed), verb.done()))?;
    }
    Ok(Outcome::Done)
}

/// Whether there is something to do, and the person agrees to it.
async fn agreed(announcement: Announcement, agreement: Consent) -> Result<bool, Problem> {
    match announcement {
        Announcement::About(about) => consent(&shown(&about), agreement).await.map(|()| true),
        Announcement::Already(said) => terminal::tell(&shown(&said)).map(|_| false),
        Announcement::Refused(said) => Err(Problem::Failed(said)),
    }
}

/// Lines in which nothing is a command to the terminal: what Upstash answered is among them.
fn shown(text: &str) -> String {
    text.lines().map(|line| terminal::visible(line) + "\n").collect()
}

/// As kubectl says it of what it changed.
fn full_name(policy: &Stored) -> String {
    format!("dlqpolicy.dlq-operator.dev/{}", policy.name())
}

//! `status --watch`: the same again and again, on the terminal's second screen.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::progress::Pace;
use super::status::render;
use crate::clock;
use crate::cluster::{Cluster, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Look, Paint, Reader, Screen};

/// How often the policy is read.
const READ: Duration = Duration::from_secs(1);

/// How often times are drawn anew where reads take long.
const DRAW: Duration = Duration::from_millis(500);

/// Draws until Ctrl-C. Where the output is no terminal that can be drawn on, each change is printed once.
pub(super) async fn watch(cluster: &Cluster, policy: Stored) -> Result<Outcome, Problem> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| unheard(&error))?;
    let mut ends = signal(SignalKind::terminate()).map_err(|error| unheard(&error))?;
    let drawn = tokio::select! {
        drawn = async {
            if terminal::is_output_terminal() && terminal::can_redraw() { draw(cluster, policy).await } else { lines(cluster, policy).await }
        } => Some(drawn),
        _ = interrupts.recv() => None,
        _ = ends.recv() => None,
    };
    drawn.unwrap_or(Ok(Outcome::Done))
}

pub(crate) fn unheard(error: &std::io::Error) -> Problem {
    Problem::Failed(format!("cannot listen for signals: {error}"))
}

async fn draw(cluster: &Cluster, first: Stored) -> Result<Outcome, Problem> {
    let mut resizes = signal(SignalKind::window_change()).map_err(|error| unheard(&error))?;
    let mut screen = Screen::enter()?;
    let name = first.name().to_owned();
    let mut shown = Shown { policy: first, pace: Pace::default(), problem: None };
    loop {
        shown.note();
        let read = async {
            sleep(READ).await;
            cluster.policy(&name).await
        };
        tokio::pin!(read);
        let answer = loop {
            if screen.draw(&shown.text())? == Reader::Gone {
                return Ok(Outcome::Done);
            }
            tokio::select! {
                answer = &mut read => break answer,
                _ = resizes.recv() => {}
                () = sleep(DRAW) => {}
            }
        };
        match answer {
            Ok(policy) => {
                shown.policy = policy;
                shown.problem = None;
            }
            // What was seen last stays, with what is wrong: the next read may get through.
            Err(problem) => shown.problem = Some(problem.to_string()),
        }
    }
}

struct Shown {
    policy: Stored,
    pace: Pace,
    problem: Option<String>,
}

impl Shown {
    fn note(&mut self) {
        if let Some(run) = &self.policy.status().current_run {
            self.pace.note(run, clock::now());
        }
    }

    fn text(&self) -> String {
        let look = Look::of_output();
        let status = render(&self.policy, Some(&self.pace), clock::now(), look);
        match &self.problem {
            Some(problem) => format!("{status}\n{}\n", look.paint(Paint::Bad, problem)),
            None => format!("{status}\n{}\n", look.paint(Paint::Faint, "Ctrl-C ends this")),
        }
    }
}

async fn lines(cluster: &Cluster, first: Stored) -> Result<Outcome, Problem> {
    let mut policy = first;
    loop {
        let version = policy.object().metadata.resource_version.clone();
        let text = render(&policy, None, clock::now(), Look::of_output());
        if terminal::print(&format!("{text}\n"))? == Reader::Gone {
            return Ok(Outcome::Done);
        }
        while policy.object().metadata.resource_version == version {
            sleep(READ).await;
            policy = cluster.policy(policy.name()).await?;
        }
    }
}

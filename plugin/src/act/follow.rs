//! Follows the run that a request started to its end.

use std::time::Duration;

use dlq_crd::{PolicyRun, RunResult};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::change::{self, RunRequest};
use super::{Verb, summary};
use crate::clock;
use crate::cluster::{Cluster, Error, Stored};
use crate::outcome::{Outcome, Problem};
use crate::see::progress::{Pace, Progress, average, total};
use crate::see::trouble::command;
use crate::see::unheard;
use crate::terminal::{self, LiveLine, Look};

/// How often the policy is read.
const READ: Duration = Duration::from_millis(500);

/// How often progress is told where there is no terminal.
const TELL: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// How long a request may wait for an operator before that is worth a word.
const UNSEEN: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// Where the run of a request stands.
#[derive(Debug, PartialEq)]
pub(super) enum Stage<'a> {
    /// No operator has seen the request.
    Unseen,
    /// The run is in progress; none where it cannot be read here.
    Running(Option<&'a PolicyRun>),
    /// The run has ended; none where it cannot be read here.
    Ended(Option<&'a PolicyRun>),
    /// The run has ended, and another one after it.
    Passed(Option<RunResult>),
    /// The operator ignored the request.
    Ignored,
}

/// Where the run stands, as the status tells it.
pub(super) fn stage<'a>(policy: &'a Stored, request: &RunRequest) -> Stage<'a> {
    let id = request.run_id();
    let status = policy.status();
    if policy.status_text("/currentRun/id") == Some(&id) {
        return Stage::Running(status.current_run.as_ref());
    }
    if policy.status_text("/lastRun/id") == Some(&id) {
        return Stage::Ended(status.last_run.as_ref());
    }
    if let Some(run) = status.history.iter().find(|run| run.id == id) {
        return Stage::Passed(run.result);
    }
    if policy.status_text("/lastHandledRequestedAt") == Some(&request.at) {
        Stage::Ignored
    } else {
        Stage::Unseen
    }
}

/// Ctrl-C, from now on: it no longer ends the process by itself. Begun before the request is sent, so that no run starts which a
/// Ctrl-C at that moment would leave behind.
pub(super) fn interrupts() -> Result<Signal, Problem> {
    signal(SignalKind::interrupt()).map_err(|error| unheard(&error))
}

/// Follows the run to its end. The first Ctrl-C asks for its cancellation, the second one leaves it.
pub(super) async fn follow(
    cluster: &Cluster,
    policy: Stored,
    request: &RunRequest,
    fail_if_empty: bool,
    mut interrupts: Signal,
) -> Result<Outcome, Problem> {
    let mut resizes = signal(SignalKind::window_change()).map_err(|error| unheard(&error))?;
    let mut view = View::new(policy, clock::now());
    let mut is_cancelled = false;
    loop {
        if let Some(outcome) = view.ended(request, fail_if_empty) {
            return outcome;
        }
        view.show(request, is_cancelled)?;
        tokio::select! {
            answer = read(cluster, view.policy.name()) => view.saw(answer)?,
            () = interrupted(&mut interrupts) => {
                view.line_away()?;
                if is_cancelled {
                    return Err(left(&view.policy));
                }
                is_cancelled = true;
                view.policy = tokio::select! {
                    cancelled = cancel(cluster, &view.policy, request) => cancelled?,
                    () = interrupted(&mut interrupts) => return Err(left(&view.policy)),
                };
            }
            _ = resizes.recv() => {}
        }
    }
}

async fn read(cluster: &Cluster, name: &str) -> Result<Stored, Error> {
    sleep(READ).await;
    cluster.policy(name).await
}

async fn interrupted(interrupts: &mut Signal) {
    if interrupts.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn left(policy: &Stored) -> Problem {
    let next = command("status", policy);
    Problem::Failed(format!("left the run, which may continue; {next} tells how it is"))
}

/// Takes the request back, or asks for the end of its run. The operator claims a run only of the object as it is, so a request
/// that is taken back unseen starts none.
async fn cancel(cluster: &Cluster, policy: &Stored, request: &RunRequest) -> Result<Stored, Problem> {
    let mut policy = policy.clone();
    if stage(&policy, request) == Stage::Unseen {
        let withdrawn = cluster.patch(&policy, &change::withdrawal()).await;
        policy = withdrawn.map_err(|error| not_asked(&error, &policy))?;
        if stage(&policy, request) == Stage::Unseen {
            return Err(Problem::Failed("the request was withdrawn before a run started".to_owned()));
        }
    }
    let cancelled = cluster.patch(&policy, &change::patch(&Verb::Cancel, clock::now())).await;
    let cancelled = cancelled.map_err(|error| not_asked(&error, &policy))?;
    terminal::tell("Asked for cancellation, and waiting for the run to end. Ctrl-C again leaves it.\n")?;
    Ok(cancelled)
}

fn not_asked(error: &Error, policy: &Stored) -> Problem {
    Problem::Failed(format!(
        "{error}; the run may continue, and {} asks again for its end",
        command("cancel", policy)
    ))
}

/// What is shown meanwhile.
struct View {
    policy: Stored,
    pace: Pace,
    line: LiveLine,
    since: Timestamp,
    told: Option<(Timestamp, String)>,
    problem: Option<String>,
}

impl View {
    fn new(policy: Stored, since: Timestamp) -> Self {
        Self { policy, pace: Pace::default(), line: LiveLine::default(), since, told: None, problem: None }
    }

    /// What was read; an error that may pass is shown, and read again.
    fn saw(&mut self, answer: Result<Stored, Error>) -> Result<(), Problem> {
        match answer {
            Ok(policy) => {
                self.policy = policy;
                self.problem = None;
                Ok(())
            }
            Err(problem @ (Error::Timeout { .. } | Error::Unreachable { .. } | Error::Refused { .. })) => {
                self.problem = Some(problem.to_string());
                Ok(())
            }
            Err(problem) => {
                self.line_away()?;
                Err(problem.into())
            }
        }
    }

    fn line_away(&mut self) -> Result<(), Problem> {
        self.line.clear(columns(Look::of_errors())).map(drop)
    }

    fn show(&mut self, request: &RunRequest, is_cancelled: bool) -> Result<(), Problem> {
        let now = clock::now();
        let look = Look::of_errors();
        let (plain, painted) = self.text(request, is_cancelled, now, look);
        if look.width.is_some() && terminal::can_redraw() {
            self.line.draw(&plain, &painted, columns(look)).map(drop)
        } else {
            self.tell(plain, now)
        }
    }

    /// Into a log: what is new, and not too often.
    fn tell(&mut self, text: String, now: Timestamp) -> Result<(), Problem> {
        let is_due =
            self.told.as_ref().is_none_or(|(at, said)| *said != text && now.duration_since(*at) >= TELL);
        if is_due {
            terminal::tell(&format!("{text}\n"))?;
            self.told = Some((now, text));
        }
        Ok(())
    }

    fn text(
        &mut self,
        request: &RunRequest,
        is_cancelled: bool,
        now: Timestamp,
        look: Look,
    ) -> (String, String) {
        let fitted = |text: String| {
            let text = terminal::fit(&terminal::visible(&text), columns(look).saturating_sub(1));
            (text.clone(), text)
        };
        if let Some(problem) = &self.problem {
            return fitted(format!("trying again: {problem}"));
        }
        match stage(&self.policy, request) {
            Stage::Running(Some(run)) => {
                self.pace.note(run, now);
                let rate = self.pace.rate().or_else(|| average(run, now));
                let progress = Progress { run, total: total(&self.policy, run), rate };
                if is_cancelled {
                    return fitted(format!("cancelling; {}", progress.words()));
                }
                if run.approval_id.is_some() && run.approved_time.is_none() {
                    let next = command("approve", &self.policy);
                    return fitted(format!("{}: {next}", progress.words()));
                }
                progress.line(now, look)
            }
            Stage::Running(None) => fitted("running; a newer version wrote how far it is".to_owned()),
            _ if now.duration_since(self.since) > UNSEEN => fitted(format!(
                "no operator has picked up the request yet; {} tells more",
                command("status", &self.policy)
            )),
            _ => fitted("waiting for the run to start".to_owned()),
        }
    }

    /// How the command ends, once the run has.
    fn ended(&mut self, request: &RunRequest, fail_if_empty: bool) -> Option<Result<Outcome, Problem>> {
        let (text, outcome) = match stage(&self.policy, request) {
            Stage::Unseen | Stage::Running(_) => return None,
            Stage::Ended(Some(run)) => (
                summary::render(&self.policy, run, Look::of_output()),
                Ok(summary::outcome(run, fail_if_empty)),
            ),
            Stage::Ended(None) => {
                let result = self.policy.status_text("/lastRun/result").unwrap_or("ended");
                let outcome = if result == "Succeeded" { Outcome::Done } else { Outcome::RunFailed };
                (format!("{result}\n"), Ok(outcome))
            }
            Stage::Passed(result) => {
                let outcome = match result {
                    Some(RunResult::Succeeded | RunResult::LimitReached) => Outcome::Done,
                    _ => Outcome::RunFailed,
                };
                let result = result.map_or("ended", RunResult::as_str);
                let text = format!(
                    "{result}, and another run ended since; {} tells more\n",
                    command("history", &self.policy)
                );
                (text, Ok(outcome))
            }
            Stage::Ignored => (String::new(), Err(Problem::Failed(ignored(&self.policy)))),
        };
        let shown = self.line_away().and_then(|()| terminal::print(&text).map(drop));
        Some(shown.and(outcome))
    }
}

fn ignored(policy: &Stored) -> String {
    format!(
        "the operator ignored the request; its event says why: kubectl get events -n {} --field-selector \
         involvedObject.name={}",
        policy.namespace(),
        policy.name()
    )
}

fn columns(look: Look) -> usize {
    look.width.unwrap_or(200)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;

//! `status NAME`: what a policy selects, what it did and why it ended so, what comes next, what is wrong and what to do.

use clap::Args;
use dlq_crd::{Action, DlqPolicySpec, EntrySummary, Limits, PolicyRun, Trigger};
use jiff::Timestamp;

use super::list::{paint, phase};
use super::output::{self, Output};
use super::progress::{Pace, Progress, average, total};
use super::selection::selection;
use super::sheet::Sheet;
use super::trouble::{
    Attention, TroubleKind, attention, doubts, is_circuit_open, is_paused_by_flag, troubles,
};
use super::watch::watch;
use super::words::{age, ago, ahead, at, count, done, entries, number, sentence};
use crate::clock;
use crate::cluster::{Cluster, ClusterArgs, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Look, Paint, wrapped};

/// `kubectl dlq status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The policy's name
    pub name: String,

    /// Draw it again and again, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,

    /// In which form
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints where a policy stands.
pub async fn status(args: &StatusArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let policy = cluster.policy(&args.name).await?;
    if args.watch {
        if !matches!(args.output, Output::Table | Output::Wide) {
            let message = "--watch draws for people; leave -o out, or use kubectl get dlqp --watch -o json";
            return Err(Problem::Usage(message.to_owned()));
        }
        return watch(&cluster, policy).await;
    }
    let text = output::object(&policy, args.output)?;
    let text = text.unwrap_or_else(|| render(&policy, None, clock::now(), Look::of_output()));
    terminal::print(&text)?;
    Ok(Outcome::Done)
}

/// Where a policy stands. With a `pace` the rate is what was seen over the last half minute, else the run's average.
pub fn render(policy: &Stored, pace: Option<&Pace>, now: Timestamp, look: Look) -> String {
    let mut sheet = Sheet::new(look);
    heading(&mut sheet, policy, now);
    match policy.spec() {
        Some(spec) => declared(&mut sheet, policy, spec),
        None => sheet.plain("Action", policy.spec_text("action").unwrap_or("unknown")),
    }
    sheet.gap();
    if let Some(run) = &policy.status().current_run {
        current(&mut sheet, policy, run, pace, now);
    } else if policy.has_unread_run() {
        sheet.line("Now", Paint::Busy, "a run is in progress; a newer version wrote how far it is");
    }
    last(&mut sheet, policy, now);
    coming(&mut sheet, policy, now);
    waiting(&mut sheet, policy, now);
    let totals = &policy.status().totals;
    if totals.runs > 0 {
        let failed = if totals.failed_runs > 0 {
            format!(" ({} failed)", number(totals.failed_runs))
        } else {
            String::new()
        };
        sheet.plain(
            "Totals",
            &format!("{}{failed}, {}", count(totals.runs, "run", "runs"), entries(totals.processed)),
        );
    }
    wrong(&mut sheet, policy, now);
    sheet.text
}

fn heading(sheet: &mut Sheet, policy: &Stored, now: Timestamp) {
    let look = sheet.look;
    let attention = attention(policy, now);
    let name = look.paint(Paint::Strong, &format!("{}/{}", policy.namespace(), policy.name()));
    let phase = look.paint(paint(attention, policy), &terminal::visible(phase(policy, attention)));
    sheet.text.extend([name.as_str(), "  ", &phase, "\n"]);
    if let Some(message) = &policy.status().message {
        let room = look.width.map(|width| width.max(20));
        for line in wrapped(&terminal::visible(message), room) {
            sheet.text.push_str(&line);
            sheet.text.push('\n');
        }
    }
    sheet.gap();
}

fn declared(sheet: &mut Sheet, policy: &Stored, spec: &DlqPolicySpec) {
    let (selected, judged) = selection(spec);
    sheet.plain("Selects", &selected);
    if let Some(judged) = judged {
        sheet.plain("", &judged);
    }
    sheet.plain("Does", &does(spec));
    sheet.plain("When", &when(policy, spec));
}

fn does(spec: &DlqPolicySpec) -> String {
    let mut parts = vec![match (spec.action, spec.dry_run) {
        (action, true) => format!("counts what it would {action}, and acts on nothing (dryRun)"),
        (Action::Resume, false) => "resumes them at the step that failed".to_owned(),
        (Action::Restart, false) => "restarts them from the beginning".to_owned(),
        (Action::Delete, false) => "deletes them for good".to_owned(),
    }];
    if spec.overrides.is_some() {
        parts.push("with overrides".to_owned());
    }
    parts.extend(spec.limits.iter().flat_map(limits));
    parts.join(", ")
}

fn limits(limits: &Limits) -> Vec<String> {
    let parts = [
        limits.max_entries_per_run.map(|most| format!("at most {} a run", entries(most))),
        limits.entries_per_second.map(|rate| format!("at most {} a second", number(rate.into()))),
        limits.parallelism.filter(|calls| *calls > 1).map(|calls| format!("{calls} calls at once")),
        limits.active_deadline_seconds.map(|seconds| format!("for at most {seconds}s")),
        limits.approval_above.map(|above| format!("with an approval above {}", entries(above))),
    ];
    parts.into_iter().flatten().collect()
}

fn when(policy: &Stored, spec: &DlqPolicySpec) -> String {
    match (&spec.schedule, spec.trigger.unwrap_or_default()) {
        (Some(schedule), _) => {
            let zone = spec.time_zone.as_ref().map_or_else(|| "UTC".to_owned(), ToString::to_string);
            format!("on the schedule {schedule} ({zone})")
        }
        (None, dlq_crd::SpecTrigger::Manual) => {
            format!("when asked: {}", super::trouble::command("run", policy))
        }
        (None, dlq_crd::SpecTrigger::OnChange) => "once for each new spec".to_owned(),
    }
}

fn current(sheet: &mut Sheet, policy: &Stored, run: &PolicyRun, pace: Option<&Pace>, now: Timestamp) {
    let rate = pace.map_or_else(|| average(run, now), |pace| pace.rate().or_else(|| average(run, now)));
    let progress = Progress { run, total: total(policy, run), rate };
    let speed = progress.speed(now).map_or_else(String::new, |speed| format!(", {speed}"));
    sheet.line("Now", Paint::Busy, &format!("{}{speed}", progress.words()));
    if let Some(bar) = progress.bar(30) {
        sheet.line("", Paint::Busy, &bar);
    }
    sheet.plain("", &format!("started {} {}", ago(run.start_time.timestamp(), now), cause(run)));
    details(sheet, run);
}

fn last(sheet: &mut Sheet, policy: &Stored, now: Timestamp) {
    let Some(run) = &policy.status().last_run else {
        if policy.status().current_run.is_none() {
            sheet.plain("Last run", "none yet");
        }
        return;
    };
    let result = policy.status_text("/lastRun/result").unwrap_or("ended");
    let reason =
        policy.status_text("/lastRun/reason").map_or_else(String::new, |reason| format!(" ({reason})"));
    let ended = run.completion_time.unwrap_or(run.start_time).timestamp();
    let took = age(run.start_time.timestamp(), ended);
    let paint = match run.result.map(dlq_crd::RunResult::as_str) {
        Some("Failed" | "DeadlineExceeded") => Paint::Bad,
        Some("Succeeded") => Paint::Good,
        _ => Paint::Plain,
    };
    sheet.line("Last run", paint, &format!("{result}{reason} {} after {took}", ago(ended, now)));
    if let Some(message) = &run.message {
        sheet.plain("", &sentence(message));
    }
    // The message of a run that went well says it.
    let is_said = run.message.as_ref().is_some_and(|message| message.contains(&run.processed.to_string()));
    let done = if is_said { String::new() } else { format!("{}, ", what_was_done(run)) };
    sheet.plain("", &format!("{done}{}", cause(run)));
    details(sheet, run);
}

/// What a run did, in one phrase: `resumed 600 entries in 12 pages`.
pub fn what_was_done(run: &PolicyRun) -> String {
    let pages = count(run.pages, "page", "pages");
    if run.dry_run {
        format!("dry run: {} match, seen in {pages}", entries(run.processed))
    } else {
        format!("{} {} in {pages}", done(run.action), entries(run.processed))
    }
}

/// What started a run.
fn cause(run: &PolicyRun) -> String {
    let reason = run.request_reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    match run.trigger {
        Trigger::Schedule => match run.scheduled_time {
            Some(time) => format!("for the scheduled time {}", at(time.timestamp())),
            None => "on its schedule".to_owned(),
        },
        Trigger::Manual => {
            let by = run.requested_by.as_ref().map_or_else(String::new, |by| format!(" of {by}"));
            format!("at the request{by}{reason}")
        }
        Trigger::Spec => "for a new spec".to_owned(),
    }
}

/// What else there is to say of a run, where it is not nothing.
fn details(sheet: &mut Sheet, run: &PolicyRun) {
    let left = run.skipped.by_reason().into_iter().filter(|(_, many)| *many > 0);
    let skipped: Vec<_> = left.map(|(reason, many)| format!("{} by {reason}", number(many))).collect();
    let parts = [
        (run.rejected, "refused by Upstash"),
        (run.not_found, "not in the DLQ"),
        (run.exhausted, "acted on often enough before"),
        (run.left_alone, "left alone, as their own fields do not match"),
        (run.returned, "back in the DLQ"),
    ];
    let mut parts: Vec<_> = parts
        .into_iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| format!("{} {what}", number(many)))
        .collect();
    if run.retries > 0 {
        parts.push(format!("{} repeated", count(run.retries, "call", "calls")));
    }
    if !skipped.is_empty() {
        parts.push(format!("skipped {}", skipped.join(", ")));
    }
    if !parts.is_empty() {
        sheet.plain("", &parts.join("; "));
    }
    if let Some(doubts) = doubts(run.uncertain_pages, run.interruptions) {
        sheet.line("", Paint::Warning, &doubts);
    }
    if let Some(summary) = &run.summary {
        for line in summarized(summary) {
            sheet.plain("", &line);
        }
    }
}

/// What a run saw of the entries that match, a line for each kind of value.
pub fn summarized(summary: &EntrySummary) -> Vec<String> {
    let times = summary.oldest_time.zip(summary.newest_time).map(|(oldest, newest)| {
        format!("failed from {} to {}", at(oldest.timestamp()), at(newest.timestamp()))
    });
    let kinds = [
        ("workflows", &summary.workflow_urls),
        ("responses", &summary.response_statuses),
        ("labels", &summary.labels),
    ];
    let counts = kinds.into_iter().filter(|(_, values)| !values.is_empty()).map(|(kind, values)| {
        let values: Vec<_> =
            values.iter().map(|seen| format!("{} {}", seen.value, number(seen.count))).collect();
        format!("{kind}: {}", values.join(", "))
    });
    times.into_iter().chain(counts).collect()
}

fn coming(sheet: &mut Sheet, policy: &Stored, now: Timestamp) {
    let status = policy.status();
    let next = match (&status.next_schedule_time, policy.spec()) {
        (Some(next), _) => format!("{} ({})", ahead(next.0, now), at(next.0)),
        _ if status.current_run.is_some() => return,
        _ if policy.is_suspended() => "none while the policy is suspended".to_owned(),
        _ if policy.paused().is_some() || is_paused_by_flag(policy) => {
            "none while the policy is paused".to_owned()
        }
        _ if is_circuit_open(policy) => "none while the circuit is open".to_owned(),
        _ if attention(policy, now) == Attention::NotReady => "none until the policy is ready".to_owned(),
        (None, Some(spec)) if spec.schedule.is_some() && policy.is_seen() => "none is scheduled".to_owned(),
        (None, Some(spec)) if spec.schedule.is_none() => {
            format!("when asked: {}", super::trouble::command("run", policy))
        }
        _ => match super::foreseen::foreseen(policy).and_then(|foreseen| foreseen.next(now)) {
            Some(next) => format!("{} ({}), once an operator sees it", ahead(next, now), at(next)),
            None => "not known yet".to_owned(),
        },
    };
    sheet.plain("Next run", &next);
    if let Some(missed) = &status.last_missed_time {
        let many = count(status.missed_schedules, "scheduled time", "scheduled times");
        sheet.plain("", &format!("{many} missed, the latest {}", ago(missed.0, now)));
    }
}

fn waiting(sheet: &mut Sheet, policy: &Stored, now: Timestamp) {
    let Some(backlog) = &policy.status().backlog else { return };
    let least = if backlog.at_least { "at least " } else { "" };
    let oldest = backlog
        .oldest_time
        .map_or_else(String::new, |time| format!(", the oldest failed {}", ago(time.timestamp(), now)));
    let seen = ago(backlog.observed_time.0, now);
    sheet.plain("Backlog", &format!("{least}{}{oldest} (counted {seen})", entries(backlog.entries)));
    if !backlog.response_statuses.is_empty() {
        let values =
            backlog.response_statuses.iter().map(|seen| format!("{} {}", seen.value, number(seen.count)));
        sheet.plain("", &format!("responses: {}", values.collect::<Vec<_>>().join(", ")));
    }
}

fn wrong(sheet: &mut Sheet, policy: &Stored, now: Timestamp) {
    for trouble in troubles(policy, now) {
        sheet.gap();
        let (label, paint) = match trouble.kind {
            TroubleKind::Problem => ("Problem", Paint::Bad),
            TroubleKind::Warning => ("Warning", Paint::Warning),
            TroubleKind::Held => ("Held", Paint::Busy),
        };
        sheet.line(label, paint, &trouble.what);
        if let Some(next) = trouble.next {
            sheet.plain("Next step", &next);
        }
    }
}

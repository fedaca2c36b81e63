//! What a command is about to do, to how many entries; or why it has nothing to do.

use dlq_crd::{ConditionType, PolicyRun};
use jiff::Timestamp;

use crate::cluster::Stored;
use crate::see::progress::{Progress, total};
use crate::see::selection;
use crate::see::trouble::{command, condition, is_circuit_open, is_paused_by_flag};
use crate::see::words::{ago, count, done, entries, number};

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verb {
    /// End the current run.
    Cancel,
    /// Hold the policy by annotation.
    Pause {
        /// The value of the annotation.
        reason: String,
    },
    /// Take that back.
    Unpause,
    /// Hold the policy by its spec.
    Suspend,
    /// Take that back.
    Unsuspend,
    /// Close the circuit.
    Reset,
}

/// What is said before something is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Announcement {
    /// This is about to be done.
    About(String),
    /// There is nothing to do.
    Already(String),
    /// It cannot be done; what to do instead.
    Refused(String),
}

impl Verb {
    /// What kubectl's way of saying it is, once it is done.
    pub fn done(&self) -> &'static str {
        match self {
            Self::Cancel => "cancellation requested",
            Self::Pause { .. } => "paused",
            Self::Unpause => "unpaused",
            Self::Suspend => "suspended",
            Self::Unsuspend => "unsuspended",
            Self::Reset => "reset",
        }
    }

    /// What it is about to do to this policy.
    pub fn announcement(&self, policy: &Stored, now: Timestamp) -> Announcement {
        let name = named(policy);
        let run = policy.status().current_run.as_ref();
        match self {
            Self::Cancel => match run {
                Some(run) => Announcement::About(format!(
                    "About to end a run of {name}. {}\n",
                    cut_short(policy, run, now)
                )),
                None if policy.has_unread_run() => {
                    let what = "a newer version wrote what it has done";
                    Announcement::About(format!("About to end a run of {name}: {what}.\n"))
                }
                None => Announcement::Refused(format!(
                    "{name} has no run in progress, so there is nothing to cancel; {} tells more",
                    command("status", policy)
                )),
            },
            Self::Pause { .. } => match policy.paused() {
                Some(value) => Announcement::Already(format!("{name} is paused already ({value}).\n")),
                None => held(policy, run, "pause", "until it is unpaused", now),
            },
            Self::Suspend if policy.is_suspended() => {
                Announcement::Already(format!("{name} is suspended already.\n"))
            }
            Self::Suspend => {
                let Announcement::About(about) = held(policy, run, "suspend", "until it is unsuspended", now)
                else {
                    return Announcement::Already(String::new());
                };
                let note = format!(
                    "A GitOps tool that applies the manifest reverts this, but not {}.\n",
                    command("pause", policy)
                );
                Announcement::About(about + &note)
            }
            Self::Unpause if policy.paused().is_none() => {
                let by =
                    if is_paused_by_flag(policy) { "; the operator's flag --pause-all holds it" } else { "" };
                Announcement::Already(format!("{name} is not paused by annotation{by}.\n"))
            }
            Self::Unpause => {
                released(policy, policy.is_suspended().then_some("suspended"), "unsuspend", "unpause")
            }
            Self::Unsuspend if !policy.is_suspended() => {
                Announcement::Already(format!("{name} is not suspended.\n"))
            }
            Self::Unsuspend => released(policy, policy.paused().map(|_| "paused"), "unpause", "unsuspend"),
            Self::Reset => reset(policy),
        }
    }
}

/// What a run that is asked for would do.
pub(crate) fn run(policy: &Stored, is_dry: bool, now: Timestamp) -> Announcement {
    let name = named(policy);
    if let Some(run) = &policy.status().current_run {
        let what = Progress { run, total: total(policy, run), rate: None }.words();
        return Announcement::Refused(format!(
            "a run of {name} is in progress ({what}), and the operator ignores requests meanwhile; end it with {}, or watch it with \
             {} --watch",
            command("cancel", policy),
            command("status", policy)
        ));
    }
    if policy.has_unread_run() {
        return Announcement::Refused(format!(
            "a run of {name} is in progress, and the operator ignores requests meanwhile; end it with {}",
            command("cancel", policy)
        ));
    }
    if !is_dry && policy.is_suspended() {
        return Announcement::Refused(format!(
            "{name} is suspended, and the operator ignores requests; {} lets it run, and --dry-run counts what matches",
            command("unsuspend", policy)
        ));
    }
    if !is_dry && is_paused_by_flag(policy) {
        return Announcement::Refused(format!(
            "the operator's flag --pause-all holds every policy, and requests are ignored; --dry-run counts what {name} matches"
        ));
    }
    if !is_dry && policy.paused().is_some() {
        return Announcement::Refused(format!(
            "{name} is paused, and the operator ignores requests; {} lets it run, and --dry-run counts what matches",
            command("unpause", policy)
        ));
    }
    let Some(spec) = policy.spec() else {
        return Announcement::About(format!(
            "About to ask for a run of {name}, which a newer version wrote: this plugin cannot say what it does.\n"
        ));
    };
    let (selected, judged) = selection(spec);
    let selected = judged.map_or_else(|| selected.clone(), |judged| format!("{selected}; {judged}"));
    if is_dry || spec.dry_run {
        return Announcement::About(format!(
            "A dry run of {name}: it counts {selected}, and acts on nothing.\n"
        ));
    }
    let mut about = format!("About to {} {selected} ({name}).\n{}\n", spec.action, how_many(policy, now));
    if let Some(ready) = condition(policy, ConditionType::Ready).filter(|ready| ready.status == "False") {
        about.extend(["The policy is not ready (", &ready.reason, "): the run starts once that is fixed.\n"]);
    }
    if is_circuit_open(policy) {
        about.push_str("The circuit is open: this is one trial, which closes it if it succeeds.\n");
    }
    Announcement::About(about)
}

/// How many entries a run would act on, as far as anybody has counted.
fn how_many(policy: &Stored, now: Timestamp) -> String {
    let Some(spec) = policy.spec() else { return String::new() };
    let limits = spec.limits.as_ref();
    let most = limits.and_then(|limits| limits.max_entries_per_run);
    let most = most.map_or_else(String::new, |most| format!(" A run acts on at most {}.", entries(most)));
    let above = limits.and_then(|limits| limits.approval_above);
    let above = above
        .map_or_else(String::new, |above| format!(" Above {} it waits for an approval.", entries(above)));
    let counted = if let Some(ids) = &spec.filters.dlq_ids {
        format!("It names {}.", entries(i64::try_from(ids.len()).unwrap_or(i64::MAX)))
    } else if let Some(backlog) = &policy.status().backlog {
        let least = if backlog.at_least { "at least " } else { "" };
        let judged = if spec.matching.is_some() || spec.loop_protection.is_some() {
            " (before match and loopProtection)"
        } else {
            ""
        };
        format!(
            "{least}{} matched the filters {}{judged}.",
            entries(backlog.entries),
            ago(backlog.observed_time.0, now)
        )
    } else {
        format!("How many match is not known; {} counts them first.", command("preview", policy))
    };
    format!("{}{most}{above}", crate::see::words::sentence(&counted))
}

fn held(policy: &Stored, run: Option<&PolicyRun>, verb: &str, until: &str, now: Timestamp) -> Announcement {
    let run = run.map_or_else(String::new, |run| {
        format!("It ends the current run. {}\n", cut_short(policy, run, now))
    });
    let skipped = match policy.spec().map(|spec| spec.schedule.is_some()) {
        Some(true) => ", and scheduled times that pass meanwhile are skipped",
        _ => "",
    };
    Announcement::About(format!("About to {verb} {}: no run starts {until}{skipped}.\n{run}", named(policy)))
}

/// What a run has done, and that it stays done.
fn cut_short(policy: &Stored, run: &PolicyRun, now: Timestamp) -> String {
    let since = ago(run.start_time.timestamp(), now);
    if run.dry_run {
        return format!("It started {since}, is a dry run, and acts on nothing.");
    }
    if run.approval_id.is_some() && run.approved_time.is_none() {
        let matched = run.matched.map_or_else(|| "entries".to_owned(), entries);
        return format!("It started {since}, waits for an approval of {matched}, and has acted on none.");
    }
    let done = format!("{} {}", done(run.action), number(run.processed));
    match total(policy, run) {
        Some(total) => format!("It started {since} and has {done} of {}, which stay so.", entries(total)),
        None => format!("It started {since} and has {done} entries, which stay so."),
    }
}

fn released(policy: &Stored, still: Option<&str>, then: &str, verb: &str) -> Announcement {
    let next = match (still, policy.spec()) {
        (Some(still), _) => format!("It stays {still}: no run starts before {}.", command(then, policy)),
        (None, Some(spec)) if spec.schedule.is_some() => {
            "Runs start at its scheduled times again; those that passed are skipped.".to_owned()
        }
        (None, Some(_)) if is_new_work(policy) => {
            "A run starts if its spec is new since the last one.".to_owned()
        }
        _ => "Runs may start again.".to_owned(),
    };
    let backlog = policy.status().backlog.as_ref().map_or_else(String::new, |backlog| {
        format!(" {} matched its filters at the last count.", entries(backlog.entries))
    });
    Announcement::About(format!("About to {verb} {}. {next}{backlog}\n", named(policy)))
}

fn is_new_work(policy: &Stored) -> bool {
    policy.spec().is_some_and(|spec| {
        spec.schedule.is_none() && spec.trigger.unwrap_or_default() == dlq_crd::SpecTrigger::OnChange
    })
}

fn reset(policy: &Stored) -> Announcement {
    let status = policy.status();
    let name = named(policy);
    if status.consecutive_failures == 0 && status.label_probes.iter().all(|probe| !probe.lost_label) {
        return Announcement::Already(format!(
            "The circuit of {name} is closed: no run failed since the last one that did not.\n"
        ));
    }
    let failed = count(status.consecutive_failures, "failed run", "failed runs");
    let next = match policy.spec().map(|spec| spec.schedule.is_some()) {
        Some(true) => "The next run starts at the next scheduled time.".to_owned(),
        _ => format!("Nothing runs at once; {} asks for a run.", command("run", policy)),
    };
    let next = if is_circuit_open(policy) { next } else { "Runs start as before.".to_owned() };
    Announcement::About(format!("About to close the circuit of {name} and to forget {failed}. {next}\n"))
}

fn named(policy: &Stored) -> String {
    format!("{}/{}", policy.namespace(), policy.name())
}

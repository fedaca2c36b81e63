//! `kubectl dlq explain`: the HTTP requests of a run, as curl commands. Nothing is sent.

use std::fmt::Write as _;

use clap::Args;
use dlq_crd::PolicyRun;
use dlq_policy::run::next_labels;
use dlq_policy::{Selected, Work};
use dlq_upstash::error::visible;
use dlq_upstash::request::{Request, build};
use dlq_upstash::types::{Call, DlqId, Overrides, Selection};
use jiff::Timestamp;
use url::{Url, form_urlencoded};

use crate::account::{Destinations, Environment};
use crate::clock;
use crate::outcome::{Outcome, Problem};
use crate::rehearsal::{CURSOR, calls, new_run, plain, with_named_cursor};
use crate::see::selected;
use crate::subject::{Subject, Which};
use crate::terminal::print;

/// What stands for the ID of an entry that a list has shown.
const DLQ_ID: &str = "DLQ_ID";

/// As many entries as show how pages follow each other, where no limit ends the run before.
const SOME_PAGES: u64 = 1000;

/// Print the HTTP requests that a run would send, as curl commands that read the token from `QSTASH_TOKEN`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    destinations: Destinations,
}

/// Prints them.
///
/// # Errors
/// The policy cannot be read or run, or names a URL that a token may not be sent to.
pub async fn explain(args: &ExplainArgs) -> Result<Outcome, Problem> {
    let subject = args.which.find().await?;
    let permissions = args.destinations.permissions(&Environment::read(), &subject.namespace)?;
    let text = explanation(&subject, &permissions, clock::now())?;
    print(&text)?;
    Ok(Outcome::Done)
}

/// One kind of request, and what is to be known of it.
struct Block {
    comment: String,
    call: Call,
}

fn explanation(
    subject: &Subject,
    permissions: &dlq_policy::Permissions,
    now: Timestamp,
) -> Result<String, Problem> {
    let (work, url) = subject.work(permissions)?;
    let policy = subject.policy(&std::collections::BTreeMap::new(), permissions);
    let run = new_run(&policy, now)?;
    let mut text = String::new();
    let mut line = |words: &str| {
        // Nothing of a policy may end a comment: people run the whole. Writing to a String cannot fail.
        let _ = writeln!(text, "# {}", visible(words));
    };
    line(&format!("{}/{}: {} {}.", subject.namespace, subject.name, work.action, selected(&subject.spec)));
    line("The commands read your token from QSTASH_TOKEN. Nothing was sent.");
    subject.notes.iter().for_each(|note| line(note));
    if let Some(window) = &run.window {
        line(&format!("A run looks at entries that failed up to its start, here {}.", window.to_date));
    }
    for note in limits(&run) {
        line(&note);
    }
    for (number, Block { comment, call }) in blocks(&work, &run, now).iter().enumerate() {
        let request = build(call).map_err(|error| Problem::Failed(format!("{}: {error}", subject.name)))?;
        let _ = write!(text, "\n# {}. {}\n{}", number + 1, visible(comment), curl(&request, &url));
    }
    Ok(text)
}

/// What limits change, that commands do not show.
fn limits(run: &PolicyRun) -> Vec<String> {
    let Some(limits) = &run.limits else { return Vec::new() };
    let rate = limits
        .entries_per_second
        .map(|rate| format!("limits.entriesPerSecond: at most {rate} entries a second."));
    let parallelism = limits.parallelism.filter(|cursors| *cursors > 1).map(|cursors| {
        format!(
            "limits.parallelism: a run divides the time between fromDate and toDate into windows and reads up to {cursors} of \
             them at once, each with a cursor of its own. One after the other, these commands do the same."
        )
    });
    let approval = limits.approval_above.filter(|_| !run.dry_run).map(|most| {
        format!("limits.approvalAbove: a run lists and counts first, and waits for an approval above {most}.")
    });
    let deadline = limits
        .active_deadline_seconds
        .map(|seconds| format!("limits.activeDeadlineSeconds: it ends after {seconds} s."));
    [rate, parallelism, approval, deadline].into_iter().flatten().collect()
}

/// The requests in their order; those that follow each other and differ in the cursor alone once.
fn blocks(work: &Work, run: &PolicyRun, now: Timestamp) -> Vec<Block> {
    let run = plain(run.clone());
    let most = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
    let most = most.filter(|_| work.by_listing.is_none()).and_then(|most| u64::try_from(most).ok());
    let met = match &work.selected {
        Selected::Ids(_) => u64::MAX,
        Selected::Matching { .. } => most.map_or(SOME_PAGES, |most| most.saturating_add(1)),
    };
    let mut kinds: Vec<(Call, usize)> = Vec::new();
    for call in calls(work, run.clone(), met, now).iter().map(with_named_cursor) {
        match kinds.last_mut() {
            Some((last, times)) if *last == call => *times += 1,
            _ => kinds.push((call, 1)),
        }
    }
    let count = kinds.len();
    let mut blocks: Vec<Block> = Vec::new();
    for (index, (call, times)) in kinds.into_iter().enumerate() {
        let times = most.map(|_| times);
        blocks.push(Block { comment: comment(&call, (index, count), times, work), call });
    }
    if work.by_listing.is_some() && !run.dry_run {
        blocks.push(acts(work, &run));
    }
    blocks
}

/// `times`: how often it is sent where a limit ends the run.
fn comment(call: &Call, (index, count): (usize, usize), times: Option<usize>, work: &Work) -> String {
    let has_cursor = match call {
        Call::Bulk { selection: Selection::Matching { cursor, .. }, .. } | Call::List { cursor, .. } => {
            cursor.is_some()
        }
        _ => false,
    };
    match call {
        Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. } | Call::Get { .. } => {
            format!("Request {} of {count}.", index + 1)
        }
        _ if has_cursor => {
            let pages = if index >= 2 || times == Some(1) { "The next page" } else { "Each further page" };
            let often = |times| if times == 1 { "once".to_owned() } else { format!("{times} times") };
            let limit = times
                .map(|times| format!(", {} at most as limits.maxEntriesPerRun ends the run", often(times)));
            let limit = limit.unwrap_or_default();
            format!(
                "{pages}: set {CURSOR} to the cursor of the answer before, and repeat until an answer has none{limit}."
            )
        }
        Call::List { .. } if work.by_listing.is_some() => {
            "The first page of the entries to decide on.".to_owned()
        }
        _ => "The first page.".to_owned(),
    }
}

/// How entries are acted on that were decided on one by one.
fn acts(work: &Work, run: &PolicyRun) -> Block {
    let most = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
    let most =
        most.map(|most| format!(" Stop after {most}, as limits.maxEntriesPerRun says.")).unwrap_or_default();
    let own = &work.overrides.labels;
    let counts = work.counts_attempts();
    let labels = if counts { next_labels(own, 0).unwrap_or_default() } else { own.clone() };
    let counted = if counts {
        " The label dlq-attempt-<n> counts attempts: one more than the entry's own, beside the labels that it has anyway."
    } else {
        ""
    };
    Block {
        comment: format!(
            "For the listed entries that match and loopProtection leave: set {DLQ_ID} to the entry's dlqId. A run names up to 50 in \
             one request, by repeating dlqIds.{most}{counted}"
        ),
        call: Call::Bulk {
            action: work.api_action(),
            selection: Selection::Ids(vec![DlqId(DLQ_ID.to_owned())]),
            overrides: Overrides { labels, ..work.overrides.clone() },
        },
    }
}

/// A request as a command of curl. What stands for something to be filled in is read from a variable of the shell.
fn curl(request: &Request, base: &Url) -> String {
    let mut url = base.clone();
    url.set_path(&request.path);
    let (mut query, mut variables) = (form_urlencoded::Serializer::new(String::new()), Vec::new());
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        match (&*name, &*value) {
            ("cursor", CURSOR) => variables.push("cursor=$CURSOR"),
            ("dlqIds", DLQ_ID) => variables.push("dlqIds=$DLQ_ID"),
            (name, value) => drop(query.append_pair(name, value)),
        }
    }
    let query = query.finish();
    url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    let mut command = format!(
        "curl --silent --show-error --fail-with-body --request {} \\\n  --header \"Authorization: Bearer $QSTASH_TOKEN\" \\\n  --header 'Content-Length: 0'",
        request.method
    );
    for (name, value) in &request.headers {
        let value = value.to_str().unwrap_or_default();
        let _ =
            write!(command, " \\\n  --header {}", quoted(&format!("{}: {value}", title_case(name.as_str()))));
    }
    if !variables.is_empty() {
        command.push_str(" \\\n  --get");
    }
    for variable in variables {
        let _ = write!(command, " --data-urlencode \"{variable}\"");
    }
    let _ = writeln!(command, " \\\n  {}", quoted(url.as_str()));
    command
}

/// A header's name as Upstash writes it.
fn title_case(name: &str) -> String {
    let part = |part: &str| {
        part.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(part.chars().skip(1)).collect()
    };
    name.split('-').map(part).collect::<Vec<String>>().join("-")
}

/// A text as one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;

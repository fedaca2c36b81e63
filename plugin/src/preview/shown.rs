//! A preview as text: a table for a terminal, or Markdown for the comment of a pull request.

use std::fmt::Write as _;

use dlq_upstash::error::visible;

use super::report::{Count, Expiry, Report};
use super::seen::Listed;
use crate::see::words::entries;
use crate::terminal::width_of;

/// So many values of each kind are shown; JSON has all.
const MOST_SHOWN: usize = 10;

/// A heading, its values, and how many entries each has.
type Section<'a> = (&'a str, &'a [Count]);

fn sections(report: &Report) -> impl Iterator<Item = Section<'_>> {
    // Where nobody counts, there is nothing to tell.
    let attempts: &[Count] =
        if report.attempts.iter().all(|count| count.value == "0") { &[] } else { &report.attempts };
    let sections: [Section<'_>; 6] = [
        ("workflow URL", &report.workflow_urls),
        ("label", &report.labels),
        ("failure function", &report.failure_function_states),
        ("response status", &report.response_statuses),
        ("attempts", attempts),
        ("left alone because of", &report.skipped),
    ];
    sections.into_iter().filter(|(_, counts)| !counts.is_empty())
}

/// The sentences before the tables.
fn facts(report: &Report) -> Vec<String> {
    let Report { calls, .. } = report;
    let mut facts = vec![format!("{}: {} would be acted on now.", report.action, entries(report.entries))];
    if report.is_limited {
        facts.push("More match: limits.maxEntriesPerRun ends the run before.".to_owned());
    }
    if let (Some(oldest), Some(newest)) = (&report.oldest_time, &report.newest_time) {
        facts.push(format!("They failed from {oldest} to {newest}."));
    }
    if report.not_found > 0 {
        facts.push(format!("Of filters.dlqIds, {} are not in the DLQ.", report.not_found));
    }
    let act = if calls.act == 1 { "1 call".to_owned() } else { format!("{} calls", calls.act) };
    let list = if calls.list > 0 { format!(" and {} to list", calls.list) } else { String::new() };
    let time = calls.seconds.map(|seconds| format!(", which take {seconds} s or more")).unwrap_or_default();
    facts.push(format!("A run makes about {act} to act{list}{time}."));
    if let Some(expiry) = &report.expiry {
        facts.push(told(expiry));
    }
    facts.extend(report.notes.iter().map(|note| format!("Note: {note}.")));
    facts
}

fn told(expiry: &Expiry) -> String {
    let Expiry { retention, first_time, within, unknown } = expiry;
    let Some(first) = first_time else {
        return format!("With a retention of {retention}, nothing is known to expire.");
    };
    let within: Vec<_> =
        within.iter().map(|count| format!("{} within {}", count.count, count.value)).collect();
    let unknown = if *unknown > 0 { format!(", and of {unknown} it is not known") } else { String::new() };
    format!(
        "With a retention of {retention}, the first one expires at {first}: {}{unknown}.",
        within.join(", ")
    )
}

/// For a terminal.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}/{} at {}", report.namespace, report.name, report.url);
    let _ = writeln!(text, "selects {}", visible(&report.selection));
    for fact in facts(report) {
        let _ = writeln!(text, "{}", visible(&fact));
    }
    for (heading, counts) in sections(report) {
        let _ = writeln!(text, "\n{:>8}  {}", "ENTRIES", heading.to_uppercase());
        for count in counts.iter().take(MOST_SHOWN) {
            let _ = writeln!(text, "{:>8}  {}", count.count, visible(&count.value));
        }
        if let Some(more) = more(counts) {
            let _ = writeln!(text, "          {more}");
        }
    }
    if let Some(listed) = &report.listed {
        let _ = writeln!(text);
        let rows: Vec<_> =
            std::iter::once(HEADINGS.map(str::to_uppercase)).chain(listed.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| width_of(&row[column])).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        for row in &rows {
            let padded = |(cell, width): (&String, usize)| {
                format!("{cell}{}", " ".repeat(width.saturating_sub(width_of(cell))))
            };
            let cells: Vec<_> = row.iter().zip(widths).map(padded).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
    }
    text
}

/// For a comment.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "### {} {}: {}\n", code(&report.name), report.action, entries(report.entries));
    let _ = writeln!(text, "Selects {} at {}.\n", code(&report.selection), code(&report.url));
    for fact in facts(report) {
        let _ = writeln!(text, "* {}", escaped(&fact));
    }
    for (heading, counts) in sections(report) {
        let _ = writeln!(text, "\n| {heading} | entries |\n| --- | ---: |");
        for count in counts.iter().take(MOST_SHOWN) {
            let _ = writeln!(text, "| {} | {} |", cell(&count.value), count.count);
        }
        if let Some(more) = more(counts) {
            let _ = writeln!(text, "| {more} | |");
        }
    }
    if let Some(listed) = &report.listed {
        let _ = writeln!(text, "\n| {} |\n|{}", HEADINGS.join(" | "), " --- |".repeat(HEADINGS.len()));
        for entry in listed {
            let _ = writeln!(text, "| {} |", row(entry).map(|text| cell(&text)).join(" | "));
        }
    }
    text
}

const HEADINGS: [&str; 6] = ["dlqId", "verdict", "failed at", "status", "labels", "workflow URL"];

fn row(entry: &Listed) -> [String; 6] {
    let text = |text: &Option<String>| visible(text.as_deref().unwrap_or("-"));
    let labels = if entry.labels.is_empty() { "-".to_owned() } else { visible(&entry.labels.join(",")) };
    [
        visible(&entry.dlq_id),
        entry.verdict.clone(),
        text(&entry.failed_at),
        entry.response_status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        labels,
        text(&entry.workflow_url),
    ]
}

fn more(counts: &[Count]) -> Option<String> {
    let more = counts.len().saturating_sub(MOST_SHOWN);
    (more > 0).then(|| format!("and {more} more; see all with -o json"))
}

/// A text from outside in a table: as code, which cannot end the cell.
fn cell(text: &str) -> String {
    code(text).replace('|', r"\|")
}

/// A text from outside as code: it can become neither markup nor a mention.
fn code(text: &str) -> String {
    let text = visible(text).replace('`', "'");
    if text.trim().is_empty() { String::new() } else { format!("`{text}`") }
}

/// A sentence of ours, in which texts from outside may stand.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in visible(text).chars() {
        if "\\`*_[]<>|#@".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
        if "@#".contains(character) {
            // A mention is looked for once the text is rendered, without its backslashes.
            escaped.push('\u{200b}');
        }
    }
    escaped
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;

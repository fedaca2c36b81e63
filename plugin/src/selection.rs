//! What a run selects, in words.

use dlq_crd::Window;
use dlq_policy::{Selected, Work};
use dlq_upstash::error::visible;

/// What is done, in the infinitive: `resume`.
pub fn action(work: &Work) -> &'static str {
    work.action.as_str()
}

/// Which entries: criteria as the API names them, and the window. `match` and `loopProtection` are named, and not repeated.
pub fn selection(work: &Work, window: Option<&Window>) -> String {
    let (criteria, bounded) = match &work.selected {
        Selected::Ids(ids) if ids.len() == 1 => return "the entry that filters.dlqIds names".to_owned(),
        Selected::Ids(ids) => return format!("the {} entries that filters.dlqIds names", ids.len()),
        Selected::Matching { criteria, from, to } => (criteria, (from.is_some(), to.is_some())),
    };
    let mut parts: Vec<_> =
        criteria.parameters().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let Some(window) = window {
        let from = window.from_date.filter(|_| bounded.0).map(|from| format!("failed since {from}"));
        let to = bounded.1.then(|| format!("failed until {}", window.to_date));
        parts.extend(from.into_iter().chain(to));
    }
    let mut words = if parts.is_empty() {
        "every entry in the DLQ".to_owned()
    } else {
        format!("entries with {}", parts.join(", "))
    };
    if work.by_listing.is_some() {
        words.push_str(", as match and loopProtection decide on each");
    }
    visible(&words)
}

/// A number of entries.
pub fn entries(count: impl Into<i128>) -> String {
    match count.into() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

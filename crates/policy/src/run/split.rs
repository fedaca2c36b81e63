//! Where a window is split, so that several cursors drain it at once.
//!
//! A page of a bulk call tells nothing of time. So the first page of the window is listed once: it shows where its entries
//! begin, on which side, and how close together they are. From there on the window is cut into parts that get longer, as
//! it is not known how far the entries reach; closer to the run's start parts get short again, as failures that are many are
//! often recent. How many entries a part holds is estimated from what the list showed, and corrected by what is drained.

use dlq_crd::{MilliTime, Window};
use dlq_upstash::types::{ListedEntry, Page};
use jiff::Timestamp;

/// Where the newest entries come first, a window is cut no further back than this from the first of them: 90 days. What is
/// older is one part.
const FARTHEST: f64 = 90.0 * 24.0 * 3_600_000.0;
/// If the entries would fill this many listed pages, were they as close together everywhere, parts are equally long.
const FEW_PAGES: f64 = 16.0;
/// So many parts get shorter towards the run's start, each by this factor.
const PARTS_NEAR_START: usize = 3;
const SHORTER: f64 = 6.0;

/// A span of failure times in Unix milliseconds, both ends inclusive. A window without a lower bound begins at 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// A part of a window, and about how many entries it holds, where that can be said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) span: Span,
    pub(crate) entries: Option<f64>,
}

/// Which entry a list shows first. Upstash promises neither.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// What the first page of a list shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Glimpse {
    /// When its first and its last entry failed.
    first: i64,
    last: i64,
    entries: u64,
}

impl Span {
    pub(crate) fn of(window: &Window) -> Self {
        let from = window.from_date.map_or(0, MilliTime::as_millisecond);
        Self { from, to: window.to_date.as_millisecond() }
    }

    /// As a window. One that begins where `whole` does has a bound there only if that has.
    pub(crate) fn within(self, whole: &Window) -> Window {
        let time = |millis| Timestamp::from_millisecond(millis).map(MilliTime::new);
        let from = if self.from <= Self::of(whole).from { whole.from_date } else { time(self.from).ok() };
        Window { from_date: from, to_date: time(self.to).unwrap_or(whole.to_date) }
    }
}

impl Glimpse {
    /// What a page shows of a span; nothing, if it has no entries, or one outside of the span.
    pub(crate) fn of(page: &Page, span: Span) -> Option<Self> {
        let failed_at =
            |entry: &ListedEntry| entry.failed_at().filter(|at| (span.from..=span.to).contains(at));
        let first = page.listed.first().and_then(failed_at)?;
        let last = page.listed.last().and_then(failed_at)?;
        Some(Self { first, last, entries: page.entries })
    }

    /// Which entry the list shows first.
    pub(crate) fn order(self) -> Order {
        if self.first <= self.last { Order::OldestFirst } else { Order::NewestFirst }
    }

    fn is_oldest_first(self) -> bool {
        self.order() == Order::OldestFirst
    }

    /// How many milliseconds the page reaches.
    fn reach(self) -> f64 {
        as_float((self.first - self.last).abs().max(1))
    }

    /// How many entries there are each millisecond.
    fn density(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate, of at most a page")]
        let entries = self.entries as f64;
        entries / self.reach()
    }

    /// How many entries the span holds, if they are as close together everywhere.
    pub(crate) fn entries_in(self, span: Span) -> f64 {
        self.density() * self.beyond(span)
    }

    /// How far the span reaches from the first entry on.
    fn beyond(self, span: Span) -> f64 {
        as_float(if self.is_oldest_first() { span.to - self.first } else { self.first - span.from })
    }
}

/// Cuts a span whose first page was listed into at most so many parts. `start`: where the run's window ends.
pub(crate) fn by_glimpse(span: Span, glimpse: Glimpse, most: usize, start: i64) -> Vec<Part> {
    let is_oldest_first = glimpse.is_oldest_first();
    let beyond = glimpse.beyond(span);
    let far = if is_oldest_first { beyond } else { beyond.min(FARTHEST) };
    let has_rest = as_millis(far) < as_millis(beyond);
    let most = most - usize::from(has_rest);
    let near_start = is_oldest_first && span.to == start;
    let near = if near_start { PARTS_NEAR_START.min(most.saturating_sub(2)) } else { 0 };
    let mut ends = growing(glimpse.reach(), far, most.saturating_sub(near).max(1));
    if near > 0 {
        ends.pop();
        let mut left = far - ends.last().copied().unwrap_or_default();
        for _ in 0..near {
            left /= SHORTER;
            ends.push(far - left);
        }
        ends.push(far);
    }
    let mut parts = Vec::new();
    let mut begun = 0;
    for end in ends.into_iter().map(as_millis) {
        if end < begun {
            continue;
        }
        let mut part = if is_oldest_first {
            Span { from: glimpse.first + begun, to: glimpse.first + end }
        } else {
            Span { from: glimpse.first - end, to: glimpse.first - begun }
        };
        // Before the first entry there should be nothing; if there is, it is not lost.
        match (parts.is_empty(), is_oldest_first) {
            (true, true) => part.from = span.from,
            (true, false) => part.to = span.to,
            (false, _) => {}
        }
        let entries = glimpse.density() * as_float(end - begun + 1);
        parts.push(Part { span: part, entries: Some(entries) });
        begun = end + 1;
    }
    if has_rest {
        let rest = Span { from: span.from, to: glimpse.first - begun };
        parts.push(Part { span: rest, entries: None });
    }
    parts
}

/// Where so many parts end, which all together reach `far`: of equal length where that is likely to give each as much as
/// another, else growing from `reach` on.
fn growing(reach: f64, far: f64, parts: usize) -> Vec<f64> {
    let pages = far / reach;
    let mut ends: Vec<f64> = if pages <= FEW_PAGES {
        let parts = (1..=parts).rev().find(|parts| as_count(*parts) <= pages).unwrap_or(1);
        (1..=parts).map(|part| far * as_count(part) / as_count(parts)).collect()
    } else {
        let factor = pages.powf(1.0 / as_count(parts.saturating_sub(1).max(1)));
        std::iter::successors(Some(reach), |end| Some(end * factor)).take(parts).collect()
    };
    ends.pop();
    ends.push(far);
    ends
}

/// Cuts a span into so many parts of equal length, with equal shares of the entries.
pub(crate) fn equally(span: Span, entries: f64, parts: usize) -> Vec<Part> {
    let length = span.to - span.from + 1;
    let parts = i64::try_from(parts).unwrap_or(length).clamp(1, length.max(1));
    let begin = |part: i64| span.from + length / parts * part + length % parts * part / parts;
    (0..parts)
        .map(|part| Part {
            span: Span { from: begin(part), to: begin(part + 1) - 1 },
            entries: Some(entries / as_float(parts)),
        })
        .collect()
}

/// Cuts a span of which it is not known what it still holds into at most so many parts, each half as long as the one before,
/// towards the side that is drained last.
pub(crate) fn by_halves(span: Span, parts: usize, order: Order) -> Vec<Part> {
    let mut left = span;
    let mut cut = Vec::new();
    while cut.len() + 1 < parts && left.from < left.to {
        let middle = left.from + (left.to - left.from) / 2;
        let (before, after) = (Span { from: left.from, to: middle }, Span { from: middle + 1, to: left.to });
        let (first, rest) = match order {
            Order::OldestFirst => (before, after),
            Order::NewestFirst => (after, before),
        };
        cut.push(first);
        left = rest;
    }
    cut.push(left);
    cut.into_iter().map(|span| Part { span, entries: None }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of ten thousand years are exact")]
fn as_float(millis: i64) -> f64 {
    millis as f64
}

#[expect(clippy::cast_possible_truncation, reason = "cut to the millisecond")]
fn as_millis(millis: f64) -> i64 {
    millis as i64
}

#[expect(clippy::cast_precision_loss, reason = "at most 32")]
fn as_count(parts: usize) -> f64 {
    parts as f64
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;

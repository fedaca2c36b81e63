//! A window that is drained page by page, with a cursor of its own.

use super::bisection::Bisection;
use super::cursors::Cursors;
use super::split::{Glimpse, Part, Span};
use dlq_crd::{RunWindow, Window};
use dlq_upstash::types::{Cursor, Page};

/// A window, and how far it is drained.
#[derive(Debug)]
pub(crate) struct Pages {
    /// What tells it apart from the run's others.
    pub(crate) number: u32,
    pub(crate) window: Window,
    pub(crate) cursors: Cursors,
    /// Its cursor was refused, and it began again without it: once.
    pub(crate) has_begun_again: bool,
    /// The page that was refused.
    pub(crate) bisection: Option<Bisection>,
    /// Of the last page: there is no cursor behind it.
    pub(crate) rejected_since_cursor: i64,
    /// Likewise.
    pub(crate) left_alone_since_cursor: i64,
    /// It has entries that the API refused, or that the run does not select: they come by again if it begins anew.
    pub(crate) has_left: bool,
    /// Selecting by listing: entries were acted on since its last page.
    pub(crate) has_acted: bool,
    pub(crate) size: Size,
}

/// What is known of how many entries a window still holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Size {
    /// An estimate.
    entries: Option<f64>,
    /// How many pages there were, and how many entries they brought.
    pages: u32,
    drained: f64,
    pub(crate) glimpse: Option<Glimpse>,
    pub(crate) look: Look,
    /// How often it was split.
    pub(crate) depth: u32,
}

/// Whether the first page was listed, to see where its entries are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Look {
    /// Not yet.
    #[default]
    None,
    /// It is to be.
    Wanted,
    /// It was, or is being.
    Taken,
}

impl Pages {
    pub(crate) fn new(number: u32, window: Window, cursor: Option<Cursor>) -> Self {
        Self {
            number,
            window,
            cursors: Cursors::at(cursor),
            has_begun_again: false,
            bisection: None,
            rejected_since_cursor: 0,
            left_alone_since_cursor: 0,
            has_left: false,
            has_acted: false,
            size: Size::default(),
        }
    }

    /// A part of this window, at its first entry.
    pub(crate) fn part(&self, number: u32, part: &Part) -> Self {
        let size =
            Size { entries: part.entries, look: Look::Taken, depth: self.size.depth + 1, ..Size::default() };
        Self { size, ..Self::new(number, part.span.within(&self.window), None) }
    }

    pub(crate) fn span(&self) -> Span {
        Span::of(&self.window)
    }

    /// How many entries since the last cursor the API refused.
    pub(crate) fn rejected(&self) -> i64 {
        self.rejected_since_cursor + self.bisection.as_ref().map_or(0, Bisection::rejected)
    }

    /// How many entries since the last cursor the run does not select.
    pub(crate) fn left_alone(&self) -> i64 {
        self.left_alone_since_cursor + self.bisection.as_ref().map_or(0, Bisection::left_alone)
    }

    /// As the status tells it.
    pub(crate) fn told(&self) -> RunWindow {
        RunWindow {
            from_date: self.window.from_date,
            to_date: self.window.to_date,
            cursor: self.cursors.next().map(|cursor| cursor.0.clone()),
        }
    }

    /// Whether a page that was refused is taken apart to its end.
    pub(crate) fn is_bisected(&self) -> bool {
        self.bisection.as_ref().is_some_and(|bisection| bisection.outcome().is_some())
    }

    /// Begins again at the first entry.
    pub(crate) fn begin_again(&mut self) {
        self.cursors = Cursors::at(None);
        self.bisection = None;
        self.rejected_since_cursor = 0;
        self.left_alone_since_cursor = 0;
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.size.pages == 0
    }

    /// Whether nothing is lost or counted twice if it begins anew in parts: what was acted on is gone.
    pub(crate) fn can_be_split(&self) -> bool {
        let Span { from, to } = self.span();
        from < to
            && self.bisection.is_none()
            && !self.has_left
            && self.rejected_since_cursor == 0
            && self.left_alone_since_cursor == 0
            && self.size.drained > 0.0
    }
}

impl Size {
    /// A page brought so many.
    pub(crate) fn drain(&mut self, page: &Page) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let brought = page.entries as f64;
        self.pages += 1;
        self.drained += brought;
        self.entries = self.entries.map(|entries| entries - brought).filter(|left| *left > 0.0);
    }

    /// How many entries are left, as far as one can tell: else as many as there were so far.
    pub(crate) fn left(&self) -> f64 {
        match self.look {
            Look::Taken => self.entries.unwrap_or(self.drained),
            Look::None | Look::Wanted => f64::INFINITY,
        }
    }

    /// The estimate, where there is one.
    pub(crate) fn estimate(&self) -> Option<f64> {
        self.entries
    }

    /// Takes in a list of the first page of `span`.
    pub(crate) fn see(&mut self, page: &Page, span: Span) {
        self.look = Look::Taken;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let shown = page.entries as f64;
        if page.cursor.is_none() {
            self.entries = Some(shown);
            return;
        }
        self.glimpse = Glimpse::of(page, span);
        self.entries = self.glimpse.map(|glimpse| glimpse.entries_in(span).max(shown));
    }
}

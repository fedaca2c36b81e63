//! Where the next page begins, and whether the pages lead anywhere.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use dlq_upstash::types::Cursor;

/// So many pages without an entry in a row are taken for a circle.
const MAX_EMPTY_PAGES: u32 = 100;

/// Where the next page begins, and which cursors were seen since the last progress.
#[derive(Debug)]
pub(crate) struct Cursors {
    next: Option<Cursor>,
    /// Hashes: a cursor may have 16 KiB.
    seen: HashSet<u64>,
    hasher: RandomState,
    empty_pages: u32,
}

/// What a page was like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turned {
    /// It had entries.
    pub(crate) shown: bool,
    /// Entries of it left the DLQ: cursors may come again.
    pub(crate) progressed: bool,
}

impl Cursors {
    /// Begins at this cursor, or at the first entry.
    pub(crate) fn at(next: Option<Cursor>) -> Self {
        Self { next, seen: HashSet::new(), hasher: RandomState::new(), empty_pages: 0 }
    }

    /// Where the next page begins; `None`: at the first entry.
    pub(crate) fn next(&self) -> Option<&Cursor> {
        self.next.as_ref()
    }

    /// Continues with the next page.
    ///
    /// # Errors
    /// The pages lead nowhere.
    pub(crate) fn turn(&mut self, page: Turned, next: &Cursor) -> Result<(), String> {
        self.empty_pages = if page.shown { 0 } else { self.empty_pages + 1 };
        if page.progressed {
            self.seen.clear();
        }
        let sent = self.next.replace(next.clone());
        if let Some(sent) = sent {
            self.seen.insert(self.hasher.hash_one(&sent));
        }
        let repeated = !self.seen.insert(self.hasher.hash_one(next));
        if repeated && !page.progressed {
            return Err("the API gave a cursor that it had given before, without progress".to_owned());
        }
        if self.empty_pages >= MAX_EMPTY_PAGES {
            return Err(format!("the API gave {MAX_EMPTY_PAGES} pages without an entry in a row"));
        }
        Ok(())
    }
}

//! Takes a page apart that the API refused, to find the entries that it refuses.
//!
//! The page is listed, and acted on by IDs in chunks that are halved until what is refused stands alone. Where listing is
//! refused too, it is the request and no entry.

use super::chunks::{Chunks, fitting};
use super::judge::{Selects, Verdict};
use dlq_upstash::error::ApiError;
use dlq_upstash::types::{Cursor, DlqId, ListedEntry, Page};

/// An ID that no entry has, of a failure in 2001: what the API says of it tells a request that it refuses from an entry
/// that it refuses. It has the form of an ID, lest it be refused for that.
pub(crate) const NOBODYS: &str = "1000000000000-0";

/// A page that was refused.
#[derive(Debug)]
pub(crate) struct Bisection {
    /// What the API said of it.
    pub(crate) refusal: ApiError,
    listed: Option<Listed>,
    shown: bool,
    selected: bool,
    acted: u64,
    refused: Vec<DlqId>,
    /// Entries without an ID that could be sent.
    unsendable: i64,
    /// Entries that the run does not select, or that cannot be judged.
    left_alone: i64,
    relisted: u8,
}

/// How often a page is listed again.
const MOST_RELISTED: u8 = 2;

/// A page's entries.
#[derive(Debug)]
struct Listed {
    /// Those that are left, and the refused chunk's part that comes next.
    ids: Vec<DlqId>,
    done: usize,
    chunks: Chunks,
    next: Option<Cursor>,
}

/// What became of a page.
#[derive(Debug)]
pub(crate) struct Bisected {
    /// Whether it had entries.
    pub(crate) shown: bool,
    /// Whether it had entries that the run selects.
    pub(crate) selected: bool,
    /// How many were acted on.
    pub(crate) acted: u64,
    /// Where the next page begins.
    pub(crate) next: Option<Cursor>,
}

impl Bisection {
    pub(crate) fn new(refusal: ApiError) -> Self {
        Self {
            refusal,
            listed: None,
            shown: false,
            selected: false,
            acted: 0,
            refused: Vec::new(),
            unsendable: 0,
            left_alone: 0,
            relisted: 0,
        }
    }

    /// Whether the page has to be listed first.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.listed.is_none()
    }

    /// How many of its entries the API refused so far, or would: those without an ID that could be sent.
    pub(crate) fn rejected(&self) -> i64 {
        i64::try_from(self.refused.len()).unwrap_or(i64::MAX).saturating_add(self.unsendable)
    }

    /// How many of its entries are left alone, because their own fields do not match the run's filters or are missing.
    pub(crate) fn left_alone(&self) -> i64 {
        self.left_alone
    }

    /// Takes the page's entries, but for those that the run does not select.
    pub(crate) fn list(&mut self, page: &Page, selects: Selects<'_>) {
        let entries = i64::try_from(page.entries).unwrap_or(i64::MAX);
        self.unsendable = entries - i64::try_from(page.listed.len()).unwrap_or(0);
        let is_selected = |entry: &&ListedEntry| selects.judge(entry) == Verdict::Selected;
        let selected: Vec<_> = page.listed.iter().filter(is_selected).map(|entry| &entry.id).collect();
        self.left_alone = i64::try_from(page.listed.len() - selected.len()).unwrap_or(i64::MAX);
        self.selected |= !selected.is_empty();
        let ids: Vec<_> = selected.into_iter().filter(|id| !self.refused.contains(id)).cloned().collect();
        // Whether a page that was listed again holds more that is refused nobody knows.
        let chunks = if self.relisted == 0 { Chunks::of_refused(ids.len()) } else { Chunks::default() };
        self.listed = Some(Listed { ids, done: 0, chunks, next: page.cursor.clone() });
        self.shown |= page.entries > 0;
    }

    /// Whether the page is to be listed again, as somebody else acts on its entries: cheaper than to look for each that
    /// has left. Not for ever.
    pub(crate) fn relist(&mut self) -> bool {
        let again = self.relisted < MOST_RELISTED;
        if again {
            self.relisted += 1;
            self.listed = None;
        }
        again
    }

    /// The next chunk, of at most `most`; none when the page is not listed.
    pub(crate) fn chunk(&mut self, most: usize) -> Vec<DlqId> {
        let Some(Listed { ids, done, chunks, .. }) = &mut self.listed else { return Vec::new() };
        let rest = ids.get(*done..).unwrap_or_default();
        rest[..chunks.next(rest.len(), most.min(fitting(rest))).min(rest.len())].to_vec()
    }

    /// The chunk was acted on, but for those that had left the DLQ.
    pub(crate) fn acted(&mut self, sent: usize, entries: u64) {
        self.acted = self.acted.saturating_add(entries);
        self.done(sent, entries == sent as u64);
    }

    /// The only ID of the chunk was refused.
    pub(crate) fn refused(&mut self) {
        let refused = self.listed.as_ref().and_then(|listed| listed.ids.get(listed.done).cloned());
        self.refused.extend(refused);
        self.passed_over();
    }

    /// The only ID of the chunk had left the DLQ.
    pub(crate) fn passed_over(&mut self) {
        self.done(1, false);
    }

    /// The chunk was refused, or holds an ID that had left the DLQ.
    pub(crate) fn halve(&mut self, size: usize) {
        if let Some(listed) = &mut self.listed {
            listed.chunks.halve(size);
        }
    }

    fn done(&mut self, sent: usize, is_whole: bool) {
        if let Some(listed) = &mut self.listed {
            listed.done += sent;
            listed.chunks.done(is_whole);
        }
    }

    /// What became of the page, when all of it is done.
    pub(crate) fn outcome(&self) -> Option<Bisected> {
        let listed = self.listed.as_ref().filter(|listed| listed.done >= listed.ids.len())?;
        let Self { shown, selected, acted, .. } = *self;
        Some(Bisected { shown, selected, acted, next: listed.next.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlq_crd::Window;
    use dlq_upstash::types::Criteria;

    #[test]
    fn what_a_page_showed_once_it_has_shown() {
        let window: Window =
            serde_json::from_value(serde_json::json!({ "toDate": "2026-11-20T12:00:00.000Z" })).unwrap();
        let criteria = Criteria::default();
        let selects = || Selects { criteria: &criteria, window: &window, is_bounded: false };
        let bare = |id: &str| ListedEntry::bare(DlqId(id.to_owned()));
        let listed = |entries: Vec<ListedEntry>| Page {
            entries: entries.len() as u64,
            listed: entries,
            ..Page::default()
        };
        let mut bisection = Bisection::new(ApiError::transport("no", true));
        bisection.list(&listed(Vec::new()), selects());
        let nothing = bisection.outcome().unwrap();
        assert_eq!((nothing.shown, nothing.selected), (false, false));

        bisection.list(&listed(vec![bare("1763640000000-0")]), selects());
        assert!(bisection.relist());
        bisection.list(&listed(Vec::new()), selects());
        let gone_since = bisection.outcome().unwrap();
        assert_eq!((gone_since.shown, gone_since.selected), (true, true));
    }
}

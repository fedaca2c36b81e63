//! The entries that were listed and are still to be acted on, in the groups that can share a call.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::NewLabels;
use super::chunks::{MAX_CHUNK, fitting};
use dlq_upstash::types::DlqId;

/// How many entries a list is asked for.
pub(crate) const PAGE: u32 = 100;
/// So many pages are listed ahead, and so many entries are kept, so that those with equal labels share calls.
const MOST_PAGES: usize = 10;
const MOST_ENTRIES: usize = 1000;
/// How much text the labels may have, in bytes.
const MOST_LABEL_BYTES: usize = 1 << 20;

/// What was listed and is still to be acted on.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// Entries whose new workflow runs get the same labels.
    groups: BTreeMap<NewLabels, Vec<DlqId>>,
    /// All of them, and those that calls are made for.
    ids: BTreeSet<DlqId>,
    /// How much room the labels of the groups take.
    label_bytes: usize,
    /// How many pages were listed since entries were last acted on.
    pages: usize,
}

impl InHand {
    /// How many entries there are, with those that calls are made for.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many entries no call is made for yet.
    pub(crate) fn waiting(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    /// Whether there is room for another page, beside those that are being listed.
    pub(crate) fn has_room(&self, being_listed: usize) -> bool {
        self.pages + being_listed < MOST_PAGES
            && self.label_bytes < MOST_LABEL_BYTES
            && self.len() + (being_listed + 1) * PAGE as usize <= MOST_ENTRIES
    }

    /// A page was listed.
    pub(crate) fn listed(&mut self) {
        self.pages += 1;
    }

    /// Whether the entry is there.
    pub(crate) fn holds(&self, id: &DlqId) -> bool {
        self.ids.contains(id)
    }

    /// Takes an entry in, unless it is there already.
    pub(crate) fn add(&mut self, id: &DlqId, labels: NewLabels) {
        if self.ids.insert(id.clone()) {
            self.label_bytes += if self.groups.contains_key(&labels) { 0 } else { bytes(&labels) };
            self.groups.entry(labels).or_default().push(id.clone());
        }
    }

    /// Takes out the entries of the next call, at most so many: of the largest group, so that calls are few.
    pub(crate) fn take(&mut self, most: usize) -> Option<(Vec<DlqId>, NewLabels)> {
        let largest = self.groups.iter().max_by_key(|(_, ids)| ids.len().min(MAX_CHUNK));
        let labels = largest.map(|(labels, _)| labels.clone())?;
        let group = self.groups.get_mut(&labels)?;
        let size = most.min(fitting(group)).clamp(1, group.len());
        let ids = group.drain(..size).collect();
        if group.is_empty() {
            self.label_bytes -= bytes(&labels);
            self.groups.remove(&labels);
        }
        Some((ids, labels))
    }

    /// These entries are done, however it went.
    pub(crate) fn done(&mut self, ids: &[DlqId]) {
        self.pages = 0;
        for id in ids {
            self.ids.remove(id);
        }
    }

    /// Forgets all but those that calls are made for.
    pub(crate) fn begin_again(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let waiting: BTreeSet<_> = std::mem::take(&mut self.groups).into_values().flatten().collect();
        *self = Self { ids: &ids - &waiting, ..Self::default() };
    }
}

/// About how much room labels take.
fn bytes(labels: &NewLabels) -> usize {
    match labels {
        NewLabels::Unchanged => 0,
        NewLabels::These(labels) => labels.iter().map(|label| label.len() + size_of::<String>()).sum(),
    }
}

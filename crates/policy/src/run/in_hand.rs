//! The entries that were listed and are still to be acted on, in the groups that can share a call.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::NewLabels;
use super::chunks::{Chunks, MAX_CHUNK, fitting};
use dlq_upstash::types::DlqId;

/// How many entries a list is asked for.
pub(crate) const PAGE: u32 = 100;
/// So many pages are listed ahead, and so many entries are kept, so that those with equal labels share calls.
const MOST_PAGES: u32 = 10;
const MOST_ENTRIES: usize = 1000;
/// How much text the labels may have, in bytes.
const MOST_LABEL_BYTES: usize = 1 << 20;

/// What was listed and is still to be acted on.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    groups: BTreeMap<NewLabels, Group>,
    ids: BTreeSet<DlqId>,
    /// How much room the labels of the groups take.
    label_bytes: usize,
    /// How many pages were listed since entries were last acted on.
    pages: u32,
    /// The group that the last call was for: it stays with that group until the call is done with.
    current: Option<NewLabels>,
}

/// Entries whose new workflow runs get the same labels.
#[derive(Debug, Default)]
struct Group {
    ids: Vec<DlqId>,
    done: usize,
    chunks: Chunks,
}

impl Group {
    fn rest(&self) -> &[DlqId] {
        self.ids.get(self.done..).unwrap_or_default()
    }
}

/// Entries to act on in one call.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    /// Which.
    pub(crate) ids: Vec<DlqId>,
    /// The labels of the new workflow runs.
    pub(crate) labels: NewLabels,
}

impl InHand {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is room for another page.
    pub(crate) fn has_room(&self) -> bool {
        self.current.is_none()
            && self.pages < MOST_PAGES
            && self.label_bytes < MOST_LABEL_BYTES
            && self.len() + PAGE as usize <= MOST_ENTRIES
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
            self.groups.entry(labels).or_default().ids.push(id.clone());
        }
    }

    /// The entries of the next call, at most so many: of the largest group, so that calls are few.
    pub(crate) fn next(&mut self, most: usize) -> Option<Batch> {
        if self.current.is_none() {
            let largest = self.groups.iter().max_by_key(|(_, group)| group.rest().len().min(MAX_CHUNK));
            self.current = largest.map(|(labels, _)| labels.clone());
        }
        let labels = self.current.clone()?;
        let group = self.groups.get_mut(&labels)?;
        let rest = group.ids.get(group.done..).unwrap_or_default();
        let size = group.chunks.next(rest.len(), most.min(fitting(rest)));
        let ids = rest.get(..size)?.to_vec();
        Some(Batch { ids, labels })
    }

    /// The chunks of the group that the call was for.
    pub(crate) fn chunks(&mut self) -> Option<&mut Chunks> {
        self.groups.get_mut(self.current.as_ref()?).map(|group| &mut group.chunks)
    }

    /// These entries are done, however it went.
    pub(crate) fn done(&mut self, sent: usize, is_whole: bool) {
        self.pages = 0;
        let Some(group) = self.current.as_ref().and_then(|labels| self.groups.get_mut(labels)) else {
            return;
        };
        for id in group.rest().iter().take(sent) {
            self.ids.remove(id);
        }
        group.done += sent;
        group.chunks.done(is_whole);
        let is_finished = group.rest().is_empty();
        // A group whose last call was refused as a whole is taken apart before another has its turn.
        if (is_finished || !group.chunks.is_apart())
            && let Some(labels) = self.current.take()
            && is_finished
        {
            self.label_bytes -= bytes(&labels);
            self.groups.remove(&labels);
        }
    }
}

/// About how much room labels take.
fn bytes(labels: &NewLabels) -> usize {
    match labels {
        NewLabels::Unchanged => 0,
        NewLabels::These(labels) => labels.iter().map(|label| label.len() + size_of::<String>()).sum(),
    }
}

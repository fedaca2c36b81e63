//! A small Upstash: entries, pages, and every way in which a call can go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Action, Call, Criteria, Cursor, DlqId, ListedEntry, Page, Selection};

/// What becomes of a call.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is served.
    #[default]
    Served,
    /// The page brings so many more than asked for.
    More(u8),
    /// The page brings half of what was asked for.
    Fewer,
    /// The page brings nothing, though there is more.
    Empty,
    /// The page's cursor is the one that it began with.
    Circle,
    /// A list shows every entry, whatever it was asked for.
    Unfiltered,
    /// What is acted on fails again at once.
    Refail,
    /// The call acts or not, and the answer is lost or cut off.
    AnswerLost { acts: bool },
    /// The process gives up on the answer.
    Abandoned { acts: bool },
    /// It is refused.
    Refused { class: ErrorClass, retry_after: Option<u64> },
}

/// What the token may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Right {
    All,
    List,
    None,
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Answer {
    Page(Page),
    Error(ApiError),
    Abandoned,
}

/// An answer, and what really happened.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) answer: Answer,
    /// How many entries were acted on.
    pub(super) acted: u32,
    /// How many entries the answer shows or acknowledges beyond what was asked for.
    pub(super) beyond: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    failed: i64,
    labels: Vec<String>,
    /// What its last call was answered with.
    status: u16,
    /// It cannot be resumed.
    stuck: bool,
}

impl Entry {
    fn matches(&self, criteria: &Criteria) -> bool {
        (criteria.labels.is_empty() || criteria.labels.iter().any(|label| self.labels.contains(label)))
            && criteria.from_date.is_none_or(|from| from <= self.failed)
            && criteria.to_date.is_none_or(|to| self.failed <= to)
    }

    /// What its label says; a label that counts is never anything but a number here.
    fn attempts(&self) -> u64 {
        let numbers = self.labels.iter().filter_map(|label| label.strip_prefix("dlq-attempt-")?.parse().ok());
        numbers.max().unwrap_or_default()
    }
}

/// The DLQ.
#[derive(Debug, Default)]
pub(super) struct Upstash {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    cursors: u64,
}

impl Upstash {
    /// So many workflow runs fail, one second after another, the last of them now.
    pub(super) fn fail(&mut self, count: u8, now: Timestamp) {
        for age in (0..i64::from(count)).rev() {
            let label = if self.next % 5 == 4 { "b" } else { "a" };
            // Some were acted on twice before.
            let counted = (self.next % 11 == 3).then(|| "dlq-attempt-2".to_owned());
            let labels = [label.to_owned()].into_iter().chain(counted).collect();
            self.add(now - SignedDuration::from_secs(age * 97), labels);
        }
    }

    /// Every entry to come has this key, or one after it.
    pub(super) fn newest(&self) -> u64 {
        self.next
    }

    /// The entries of a selection that cannot be resumed.
    pub(super) fn refused(&self, criteria: &Criteria) -> Vec<u64> {
        let refused = self.entries.iter().filter(|(_, entry)| entry.stuck && entry.matches(criteria));
        refused.map(|(key, _)| *key).collect()
    }

    /// How many entries match.
    pub(super) fn count(&self, criteria: &Criteria) -> i64 {
        let count = self.entries.values().filter(|entry| entry.matches(criteria)).count();
        i64::try_from(count).unwrap()
    }

    fn add(&mut self, failed: Timestamp, labels: Vec<String>) {
        let stuck = self.next % 17 == 11;
        let status = if self.next % 4 == 1 { 404 } else { 503 };
        self.entries.insert(self.next, Entry { failed: failed.as_millisecond(), labels, status, stuck });
        self.next += 1;
    }

    pub(super) fn serve(&mut self, call: &Call, fate: &Fate, right: Right, now: Timestamp) -> Served {
        let acts = call.operation().acts();
        let refused = |class, status, may_have_acted, retry_after: Option<u64>| Served {
            answer: Answer::Error(ApiError {
                class,
                status,
                message: "é".repeat(400),
                retry_after: retry_after.map(Duration::from_secs),
                may_have_acted,
            }),
            acted: 0,
            beyond: 0,
        };
        match (right, fate) {
            (Right::None, _) => return refused(ErrorClass::Unauthorized, Some(401), false, None),
            (Right::List, _) if acts => return refused(ErrorClass::Forbidden, Some(403), false, None),
            (_, Fate::Refused { class, retry_after }) => {
                return refused(*class, Some(503), false, *retry_after);
            }
            (_, Fate::AnswerLost { acts: false }) => {
                return refused(ErrorClass::Unavailable, None, acts, None);
            }
            (_, Fate::Abandoned { acts: false }) => {
                return Served { answer: Answer::Abandoned, acted: 0, beyond: 0 };
            }
            _ => {}
        }
        let (page, asked) = match self.page(call, fate, now) {
            Ok(page) => page,
            Err(class) => return refused(class, Some(400), false, None),
        };
        let entries = u32::try_from(page.entries).unwrap();
        let acted = if acts { entries } else { 0 };
        match fate {
            Fate::AnswerLost { .. } => {
                Served { acted, ..refused(ErrorClass::Unavailable, Some(502), acts, None) }
            }
            Fate::Abandoned { .. } => Served { answer: Answer::Abandoned, acted, beyond: 0 },
            _ => Served { answer: Answer::Page(page), acted, beyond: entries.saturating_sub(asked) },
        }
    }

    /// The page and how many entries were asked for; an error when an ID is not there or an entry cannot be resumed.
    fn page(&mut self, call: &Call, fate: &Fate, now: Timestamp) -> Result<(Page, u32), ErrorClass> {
        match call {
            Call::List { criteria, cursor, count, detail: _ } => {
                let everything = Criteria::default();
                let read = if *fate == Fate::Unfiltered { &everything } else { criteria };
                let (keys, cursor) = self.matching(read, cursor.as_ref(), *count, fate);
                let listed = keys.iter().map(|key| self.listed(*key)).collect();
                Ok((Page { listed, ..page(&keys, cursor) }, *count))
            }
            Call::Bulk { action, selection: Selection::Matching { criteria, cursor, count }, .. } => {
                let (keys, cursor) = self.matching(criteria, cursor.as_ref(), *count, fate);
                self.take(*action, &keys, &[], fate, now)?;
                Ok((page(&keys, cursor), *count))
            }
            Call::Bulk { selection: Selection::Ids(ids), action, overrides } => {
                let keys: Vec<_> = ids.iter().filter_map(|id| self.key(id)).collect();
                if keys.len() < ids.len() && *action != Action::Delete {
                    return Err(ErrorClass::NotFound);
                }
                self.take(*action, &keys, &overrides.labels, fate, now)?;
                Ok((page(&keys, None), u32::try_from(ids.len()).unwrap()))
            }
            Call::Single { action, id, .. } => {
                let key = self.key(id).ok_or(ErrorClass::NotFound)?;
                self.take(*action, &[key], &[], fate, now)?;
                Ok((page(&[key], None), 1))
            }
            Call::Get { id } => self.key(id).map(|key| (page(&[key], None), 1)).ok_or(ErrorClass::NotFound),
        }
    }

    fn listed(&self, key: u64) -> ListedEntry {
        let Entry { failed, labels, status, .. } = &self.entries[&key];
        let id = DlqId(format!("{failed}-{key}"));
        let (labels, response_status) = (Some(labels.clone()), Some(*status));
        ListedEntry { labels, response_status, ..ListedEntry::bare(id) }
    }

    /// Whether each of these that is there has an answer of 5xx, and was acted on less often than this.
    pub(super) fn have(&self, ids: &[DlqId], only_5xx: bool, attempts_below: u64) -> bool {
        let entries = ids.iter().filter_map(|id| self.key(id)).map(|key| &self.entries[&key]);
        entries
            .into_iter()
            .all(|entry| (!only_5xx || entry.status >= 500) && entry.attempts() < attempts_below)
    }

    /// Whether each of these is there and within the selection, give or take a minute.
    pub(super) fn are_selected(&self, ids: &[DlqId], criteria: &Criteria) -> bool {
        let wider = Criteria {
            from_date: criteria.from_date.map(|from| from - 60_000),
            to_date: criteria.to_date.map(|to| to + 60_000),
            ..criteria.clone()
        };
        let entries = ids.iter().filter_map(|id| self.key(id)).map(|key| &self.entries[&key]);
        entries.into_iter().all(|entry| entry.matches(&wider))
    }

    fn key(&self, id: &DlqId) -> Option<u64> {
        // As the API makes them, or as a policy names them.
        let (prefix, key) = id.0.rsplit_once('-')?;
        let key = key.parse().ok()?;
        let entry = self.entries.get(&key)?;
        (prefix == "dlq" || prefix == entry.failed.to_string()).then_some(key)
    }

    fn matching(
        &mut self,
        criteria: &Criteria,
        cursor: Option<&Cursor>,
        count: u32,
        fate: &Fate,
    ) -> (Vec<u64>, Option<Cursor>) {
        let begin = cursor.map_or(0, |cursor| cursor.0.rsplit(':').next().unwrap().parse().unwrap());
        let count = usize::try_from(count).unwrap();
        let most = match fate {
            Fate::More(more) => count + usize::from(*more),
            Fate::Fewer => count / 2,
            Fate::Empty => 0,
            _ => count,
        };
        let rest = self.entries.range(begin..).filter(|(_, entry)| entry.matches(criteria));
        let mut rest = rest.map(|(key, _)| *key);
        let keys: Vec<_> = rest.by_ref().take(most).collect();
        let next = rest.next().or((*fate == Fate::Empty).then_some(begin));
        self.cursors += 1;
        let cursor = match (fate, cursor) {
            (Fate::Circle, Some(cursor)) => Some(cursor.clone()),
            (Fate::Circle, None) => Some(Cursor("0:0".to_owned())),
            _ => next.map(|next| Cursor(format!("{}:{next}", self.cursors))),
        };
        (keys, cursor)
    }

    fn take(
        &mut self,
        action: Action,
        keys: &[u64],
        labels: &[String],
        fate: &Fate,
        now: Timestamp,
    ) -> Result<(), ErrorClass> {
        if action == Action::Resume && keys.iter().any(|key| self.entries[key].stuck) {
            return Err(ErrorClass::Refused);
        }
        for key in keys {
            let taken = self.entries.remove(key).expect("it was just found");
            if *fate == Fate::Refail {
                let labels = if labels.is_empty() { taken.labels } else { labels.to_vec() };
                self.add(now + SignedDuration::from_millis(1), labels);
            }
        }
        Ok(())
    }
}

fn page(keys: &[u64], cursor: Option<Cursor>) -> Page {
    // Some IDs are longer than the status takes.
    let id = |key: &u64| format!("wfr_{key:0width$}", width = if key.is_multiple_of(7) { 300 } else { 1 });
    Page {
        entries: keys.len() as u64,
        workflow_run_ids: keys.iter().map(id).collect(),
        cursor,
        ..Page::default()
    }
}

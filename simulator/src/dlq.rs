//! One DLQ: its entries in order, what can be done to them, and what happened. Pure: the time is handed in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Millis,
    cursor::{self, Position},
    entry::{Entry, FailureFunctionState, NewEntry, Seed},
    filter::Filter,
    ledger::{Fate, Ledger, Record, WorkflowRun},
    operation::Action,
    overrides::Overrides,
    query::Selection,
    random::Random,
    refusal::Refusal,
};

/// A rule by which new workflow runs fail again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refail {
    pub delay_ms: u32,
    /// How often a workflow run comes back before it succeeds; absent: always.
    pub times: Option<u32>,
}

/// What an action did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acted {
    /// The entries that left, in order.
    pub dlq_ids: Vec<Arc<str>>,
    /// The new workflow runs, in the same order; none for a delete.
    pub runs: Vec<NewRun>,
    /// Where to go on, when more entries match.
    pub cursor: Option<String>,
}

/// A workflow run as the answer to an action names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRun {
    pub workflow_run_id: Arc<str>,
    pub workflow_created_at: Millis,
}

/// One DLQ.
#[derive(Debug)]
pub struct Dlq {
    name: String,
    entries: BTreeMap<Position, Entry>,
    /// The sequence of every entry there ever was, by DLQ ID.
    sequences: HashMap<Arc<str>, u64>,
    expiries: BTreeSet<(Millis, Position)>,
    refail: Option<Refail>,
    /// Entries that will come back, by time and by the sequence of the entry they were.
    comebacks: BTreeMap<(Millis, u64), Entry>,
    random: Random,
    pub ledger: Ledger,
}

impl Dlq {
    /// An empty DLQ. The seed decides the IDs it makes up.
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            entries: BTreeMap::new(),
            sequences: HashMap::new(),
            expiries: BTreeSet::new(),
            refail: None,
            comebacks: BTreeMap::new(),
            random: Random::seeded(seed),
            ledger: Ledger::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in the DLQ now, oldest failure first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn set_refail(&mut self, refail: Option<Refail>) {
        self.refail = refail;
    }

    /// Adds entries; refused as a whole when a DLQ ID has been used before.
    pub fn seed(&mut self, seed: Seed, now: Millis) -> Result<Vec<Arc<str>>, Refusal> {
        let Seed { entries, generate } = seed;
        let template =
            generate.as_ref().filter(|generate| generate.count > 0).map(|generate| &generate.entry);
        let mut given = HashSet::new();
        for id in entries.iter().chain(template).filter_map(|entry| entry.dlq_id.as_ref()) {
            if self.sequences.contains_key(id) || !given.insert(Arc::clone(id)) {
                return Err(Refusal::conflict(format!("dlqId {id:?} has been used before")));
            }
        }
        let (count, template) = generate.map(|generate| (generate.count, generate.entry)).unwrap_or_default();
        if count > 1 && template.dlq_id.is_some() {
            return Err(Refusal::bad_request("one dlqId cannot serve for several entries"));
        }
        let template = template.into_template();
        let generated = (0..count).map(|_| template.clone());
        Ok(entries.into_iter().chain(generated).map(|entry| self.arrive(entry, now)).collect())
    }

    /// Lets happen what is due: workflow runs fail again, entries expire.
    pub fn settle(&mut self, now: Millis) {
        while let Some(due) = self.comebacks.first_entry().filter(|due| due.key().0 <= now) {
            let (at, from) = *due.key();
            let entry = due.remove();
            let dlq_id = self.insert(entry, at);
            if let Some(record) = self.record(from) {
                record.refailed_as = Some(dlq_id);
            }
        }
        while let Some((_, position)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(position, Fate::Expired, None);
        }
    }

    /// Lets the oldest entries expire now.
    pub fn expire_oldest(&mut self, count: usize) {
        let oldest: Vec<Position> = self.entries.keys().take(count).copied().collect();
        for position in oldest {
            self.remove(position, Fate::Expired, None);
        }
    }

    /// Lets made-up entries arrive now.
    pub fn arrive_anew(&mut self, count: usize, now: Millis) {
        for _ in 0..count {
            self.arrive(NewEntry::default(), now);
        }
    }

    /// The entries that a call selects, and the cursor of the next page. Unknown IDs are passed over.
    pub fn list(&self, selection: &Selection) -> (Vec<&Entry>, Option<String>) {
        let (positions, cursor) = match selection {
            Selection::Ids(ids) => (ids.iter().filter_map(|id| self.position(id)).collect(), None),
            Selection::Matching { filter, after, limit, .. } => self.page(filter, *after, *limit),
        };
        (positions.iter().filter_map(|position| self.entries.get(position)).collect(), cursor)
    }

    /// One entry.
    pub fn get(&self, dlq_id: &str) -> Result<&Entry, Refusal> {
        self.position(dlq_id).and_then(|position| self.entries.get(&position)).ok_or_else(unknown_entry)
    }

    /// Acts on the entries that a bulk call selects: on all of them or, when it is refused, on none.
    pub fn act(
        &mut self,
        action: Action,
        selection: &Selection,
        overrides: &Overrides,
        call_seq: u64,
        now: Millis,
    ) -> Result<Acted, Refusal> {
        let (positions, cursor) = match selection {
            Selection::Ids(ids) => {
                let positions: Vec<Position> = ids.iter().filter_map(|id| self.position(id)).collect();
                if positions.len() < ids.len() && action != Action::Delete {
                    return Err(Refusal::not_found("some DLQ messages were not found"));
                }
                (positions, None)
            }
            Selection::Matching { filter, after, limit, .. } => self.page(filter, *after, *limit),
        };
        self.act_at(action, &positions, overrides, call_seq, now).map(|acted| Acted { cursor, ..acted })
    }

    /// Acts on one entry.
    pub fn act_on_one(
        &mut self,
        action: Action,
        dlq_id: &str,
        overrides: &Overrides,
        call_seq: u64,
        now: Millis,
    ) -> Result<Acted, Refusal> {
        let position = self.position(dlq_id).ok_or_else(unknown_entry)?;
        self.act_at(action, &[position], overrides, call_seq, now)
    }

    /// Runs a failed failure function again. The entry stays, with the failure function in progress.
    pub fn rerun_failure_function(&mut self, dlq_id: &str) -> Result<&Entry, Refusal> {
        let position = self.position(dlq_id).ok_or_else(unknown_entry)?;
        let entry = self.entries.get_mut(&position).ok_or_else(unknown_entry)?;
        if entry.failure_function_state != Some(FailureFunctionState::CallbackFail) {
            return Err(Refusal::bad_request("the failure function has not failed"));
        }
        entry.failure_function_state = Some(FailureFunctionState::CallbackInProgress);
        Ok(entry)
    }

    fn page(&self, filter: &Filter, after: Position, limit: usize) -> (Vec<Position>, Option<String>) {
        let Some(span) = filter.span(after) else { return (Vec::new(), None) };
        let mut matching = self
            .entries
            .range(span)
            .filter(|(_, entry)| filter.matches(entry))
            .map(|(position, _)| *position);
        let positions: Vec<Position> = matching.by_ref().take(limit).collect();
        let cursor = match (positions.last(), matching.next()) {
            (Some(last), Some(_)) => Some(cursor::encode(&self.name, *last, 0)),
            _ => None,
        };
        (positions, cursor)
    }

    fn act_at(
        &mut self,
        action: Action,
        positions: &[Position],
        overrides: &Overrides,
        call_seq: u64,
        now: Millis,
    ) -> Result<Acted, Refusal> {
        let stuck = |position| self.entries.get(position).is_some_and(|entry: &Entry| entry.unresumable);
        if action == Action::Resume && positions.iter().any(stuck) {
            return Err(Refusal::bad_request(
                "a workflow run cannot be resumed: its code changed before the failed step",
            ));
        }
        let mut acted = Acted::default();
        for position in positions {
            let Some(entry) = self.remove(*position, action.into(), Some(call_seq)) else { continue };
            acted.dlq_ids.push(Arc::clone(&entry.dlq_id));
            if action != Action::Delete {
                acted.runs.push(self.start_run(action, entry, overrides, now));
            }
        }
        Ok(acted)
    }

    fn start_run(&mut self, action: Action, entry: Entry, overrides: &Overrides, now: Millis) -> NewRun {
        let workflow_run_id = new_run_id(&mut self.random);
        let settings = overrides.apply(&entry.settings);
        if let Some(record) = self.record(entry.sequence) {
            record.new_workflow_run_id = Some(Arc::clone(&workflow_run_id));
        }
        self.ledger.workflow_runs.push(WorkflowRun {
            workflow_run_id: Arc::clone(&workflow_run_id),
            from_dlq_id: Arc::clone(&entry.dlq_id),
            action,
            workflow_created_at: now,
            workflow_url: Arc::clone(&entry.workflow_url),
            label: settings.label(),
            settings: settings.clone(),
        });
        if let Some(refail) =
            self.refail.filter(|refail| refail.times.is_none_or(|times| entry.comebacks < times))
        {
            let failed_at = now.saturating_add(refail.delay_ms.into());
            let comeback = Entry {
                dlq_id: "".into(),
                workflow_run_id: Arc::clone(&workflow_run_id),
                workflow_created_at: now,
                failed_at,
                settings,
                expires_at: None,
                comebacks: entry.comebacks + 1,
                ..entry
            };
            self.comebacks.insert((failed_at, entry.sequence), comeback);
        }
        NewRun { workflow_run_id, workflow_created_at: now }
    }

    fn arrive(&mut self, new: NewEntry, now: Millis) -> Arc<str> {
        let random = &mut self.random;
        let entry = new.into_entry(now, || new_run_id(random));
        self.insert(entry, now)
    }

    /// Puts an entry in its place. It gets a sequence and, where it has none, a DLQ ID.
    fn insert(&mut self, mut entry: Entry, now: Millis) -> Arc<str> {
        entry.sequence = self.ledger.entries.len() as u64;
        if entry.dlq_id.is_empty() {
            entry.dlq_id = self.unused_id(now, entry.sequence);
        }
        let dlq_id = Arc::clone(&entry.dlq_id);
        self.ledger.entries.push(Record {
            dlq_id: Arc::clone(&dlq_id),
            arrived_at: now,
            failed_at: entry.failed_at,
            fate: Fate::InDlq,
            call_seq: None,
            new_workflow_run_id: None,
            refailed_as: None,
        });
        self.sequences.insert(Arc::clone(&dlq_id), entry.sequence);
        if let Some(expires_at) = entry.expires_at {
            self.expiries.insert((expires_at, entry.position()));
        }
        self.entries.insert(entry.position(), entry);
        dlq_id
    }

    /// A DLQ ID in the form of the service's own. One that was seeded by hand can stand in the way.
    fn unused_id(&self, now: Millis, sequence: u64) -> Arc<str> {
        let mut dlq_id: Arc<str> = format!("{now}-{sequence}").into();
        while self.sequences.contains_key(&dlq_id) {
            dlq_id = format!("{dlq_id}-0").into();
        }
        dlq_id
    }

    fn remove(&mut self, position: Position, fate: Fate, call_seq: Option<u64>) -> Option<Entry> {
        let entry = self.entries.remove(&position)?;
        if let Some(expires_at) = entry.expires_at {
            self.expiries.remove(&(expires_at, position));
        }
        if let Some(record) = self.record(position.sequence) {
            record.fate = fate;
            record.call_seq = call_seq;
        }
        Some(entry)
    }

    /// Where an entry stands, if it is in the DLQ.
    fn position(&self, dlq_id: &str) -> Option<Position> {
        let sequence = *self.sequences.get(dlq_id)?;
        let record = self.ledger.entries.get(usize::try_from(sequence).ok()?)?;
        (record.fate == Fate::InDlq).then_some(Position { failed_at: record.failed_at, sequence })
    }

    fn record(&mut self, sequence: u64) -> Option<&mut Record> {
        self.ledger.entries.get_mut(usize::try_from(sequence).ok()?)
    }
}

fn new_run_id(random: &mut Random) -> Arc<str> {
    format!("wfr_{:016x}{:016x}", random.number(), random.number()).into()
}

fn unknown_entry() -> Refusal {
    Refusal::not_found("DLQ message not found")
}

#[cfg(test)]
mod tests;

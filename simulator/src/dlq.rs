//! One DLQ: its entries in order, what can be done to them, and what happened. Pure: the time is handed in.

mod failure_function;
mod stay;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Millis,
    cursor::{self, Position},
    entry::{Entry, Generate, MOST_ENTRIES, NewEntry, Seed, message_created_at},
    filter::Filter,
    ledger::{Ledger, WorkflowRun},
    operation::Action,
    overrides::Overrides,
    query::Selection,
    random::Random,
    refusal::Refusal,
    service::{Order, Service},
};

/// A rule by which new workflow runs fail again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refail {
    pub delay_ms: u32,
    /// How often a workflow run comes back before it succeeds; absent: always.
    pub times: Option<u32>,
}

/// How long a DLQ lags behind its actions: so long an entry that was acted on is listed and selected as before. An action
/// takes it for any other entry, and starts a workflow run once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lag {
    pub ms: u32,
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
    service: Service,
    /// What calls can select: what is in the DLQ and, where it lags behind, what has just left.
    entries: BTreeMap<Position, Box<Entry>>,
    /// The sequences of the entries whose DLQ ID was given. One that was made up ends in its entry's sequence.
    given: HashMap<Arc<str>, u64>,
    expiries: BTreeSet<(Millis, Position)>,
    lag: Option<Lag>,
    /// Until when entries that have left can still be selected.
    lingering: BTreeSet<(Millis, Position)>,
    refail: Option<Refail>,
    /// Entries that will come back, by time, by the sequence of the entry they were, and by the number of the workflow run
    /// that fails.
    comebacks: BTreeMap<(Millis, u64, usize), Box<Entry>>,
    random: Random,
    pub ledger: Ledger,
}

impl Dlq {
    /// An empty DLQ. The seed decides the IDs it makes up.
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            service: Service::default(),
            entries: BTreeMap::new(),
            given: HashMap::new(),
            expiries: BTreeSet::new(),
            lag: None,
            lingering: BTreeSet::new(),
            refail: None,
            comebacks: BTreeMap::new(),
            random: Random::seeded(seed),
            ledger: Ledger::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn service(&self) -> Service {
        self.service
    }

    pub fn set_service(&mut self, service: Service) {
        self.service = service;
    }

    /// What is in the DLQ now, oldest failure first, whatever the order of calls.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(AsRef::as_ref).filter(|entry| !self.has_left(entry.sequence))
    }

    pub fn set_lag(&mut self, lag: Option<Lag>) {
        self.lag = lag;
    }

    pub fn set_refail(&mut self, refail: Option<Refail>) {
        self.refail = refail;
    }

    /// Adds entries; refused as a whole when a DLQ ID has been used before.
    pub fn seed(&mut self, seed: Seed, now: Millis) -> Result<Vec<Arc<str>>, Refusal> {
        let Seed { entries, generate } = seed;
        let Generate { count, entry: template, spread_ms } = generate.unwrap_or_default();
        if usize::try_from(count).is_ok_and(|count| count > MOST_ENTRIES) {
            return Err(Refusal::bad_request(format!("at most {MOST_ENTRIES} entries at once")));
        }
        if count > 1 && template.dlq_id.is_some() {
            return Err(Refusal::bad_request("one dlqId cannot serve for several entries"));
        }
        let mut given = HashMap::new();
        let only_one = (count == 1).then_some(&template);
        for (sequence, entry) in (self.ledger.next_sequence()..).zip(entries.iter().chain(only_one)) {
            let Some(id) = entry.dlq_id.as_ref().filter(|id| !id.is_empty()) else { continue };
            if self.sequence(id).is_some() || given.insert(Arc::clone(id), sequence).is_some() {
                return Err(Refusal::conflict(format!("dlqId {id:?} has been used before")));
            }
        }
        // Before the entries arrive, so that none of them is given an ID that a later one brings along.
        self.given.extend(given);
        let mut dlq_ids: Vec<Arc<str>> = entries.into_iter().map(|entry| self.arrive(entry, now)).collect();
        dlq_ids.extend(self.generate(count, template, spread_ms, now));
        Ok(dlq_ids)
    }

    /// What entries made from one template can share, they share.
    fn generate(
        &mut self,
        count: u64,
        template: NewEntry,
        spread_ms: u32,
        now: Millis,
    ) -> impl Iterator<Item = Arc<str>> {
        let run_id = template.workflow_run_id.clone();
        let template = template.into_entry(now, Arc::default);
        (0..count).map(move |number| {
            let workflow_run_id = run_id.clone().unwrap_or_else(|| new_run_id(&mut self.random));
            let age = u64::from(spread_ms) * (count - 1 - number) / count;
            let failed_at = template.failed_at.saturating_sub_unsigned(age);
            self.insert(Entry { workflow_run_id, failed_at, ..template.clone() }.into(), now, None)
        })
    }

    /// The entries that a call selects, and the cursor of the next page. Unknown IDs are passed over.
    pub fn list(&self, selection: &Selection) -> (Vec<&Entry>, Option<String>) {
        match selection {
            Selection::Ids(ids) => (ids.iter().filter_map(|id| self.find(id)).collect(), None),
            Selection::Matching { filter, after, limit, .. } => self.page(filter, *after, *limit),
        }
    }

    /// One entry.
    pub fn get(&self, dlq_id: &str) -> Result<&Entry, Refusal> {
        self.find(dlq_id).ok_or_else(unknown_entry)
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
        let (entries, cursor) = self.list(selection);
        if let Selection::Ids(ids) = selection
            && entries.len() < ids.len()
            && action != Action::Delete
        {
            return Err(Refusal::not_found("some DLQ messages were not found"));
        }
        let positions = acted_on(action, &entries)?;
        Ok(Acted { cursor, ..self.act_at(action, &positions, overrides, call_seq, now) })
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
        let positions = acted_on(action, &[self.get(dlq_id)?])?;
        Ok(self.act_at(action, &positions, overrides, call_seq, now))
    }

    fn page(&self, filter: &Filter, after: Position, limit: usize) -> (Vec<&Entry>, Option<String>) {
        let order = self.service.order;
        let Some(span) = filter.span(after, order) else { return (Vec::new(), None) };
        let within = self.entries.range(span).map(|(_, entry)| entry.as_ref());
        let (entries, last) = match order {
            Order::OldestFirst => first_matching(within, filter, limit),
            Order::NewestFirst => first_matching(within.rev(), filter, limit),
        };
        (entries, last.map(|position| cursor::encode(&self.name, position, 0)))
    }

    fn act_at(
        &mut self,
        action: Action,
        positions: &[Position],
        overrides: &Overrides,
        call_seq: u64,
        now: Millis,
    ) -> Acted {
        let mut acted = Acted { dlq_ids: Vec::with_capacity(positions.len()), ..Acted::default() };
        if action != Action::Delete {
            acted.runs.reserve(positions.len());
        }
        for position in positions {
            let taken = match self.lag {
                Some(lag) => self.leave_lingering(*position, action.into(), call_seq, now, lag),
                None => self.remove(*position, action.into(), Some(call_seq)),
            };
            let Some(entry) = taken else { continue };
            acted.dlq_ids.push(Arc::clone(&entry.dlq_id));
            if action != Action::Delete {
                acted.runs.push(self.start_run(action, entry, overrides, now));
            }
        }
        acted
    }

    fn start_run(&mut self, action: Action, entry: Entry, overrides: &Overrides, now: Millis) -> NewRun {
        let workflow_run_id = new_run_id(&mut self.random);
        let settings = overrides.apply(&entry.settings);
        if let Some(refail) =
            self.refail.filter(|refail| refail.times.is_none_or(|times| entry.comebacks < times))
        {
            let failed_at = now.saturating_add(refail.delay_ms.into());
            let settings_of_comeback = if self.service.labels_carried.by(action) {
                Arc::clone(&settings)
            } else {
                settings.with_labels_of(&entry.settings)
            };
            let comeback = Entry {
                dlq_id: Arc::default(),
                workflow_run_id: Arc::clone(&workflow_run_id),
                workflow_created_at: now,
                created_at: message_created_at(now, failed_at),
                failed_at,
                settings: settings_of_comeback,
                expires_at: None,
                comebacks: entry.comebacks + 1,
                ..entry.clone()
            };
            let key = (failed_at, entry.sequence, self.ledger.workflow_runs().len());
            self.comebacks.insert(key, Box::new(comeback));
        }
        let run = WorkflowRun {
            workflow_run_id: Arc::clone(&workflow_run_id),
            from_dlq_id: entry.dlq_id,
            action,
            workflow_created_at: now,
            workflow_url: entry.workflow_url,
            settings,
        };
        self.ledger.start(run, entry.sequence);
        NewRun { workflow_run_id, workflow_created_at: now }
    }

    fn find(&self, dlq_id: &str) -> Option<&Entry> {
        self.entries.get(&self.position(dlq_id)?).map(AsRef::as_ref)
    }

    /// Where an entry stands or stood.
    fn position(&self, dlq_id: &str) -> Option<Position> {
        let sequence = self.sequence(dlq_id)?;
        let record = self.ledger.record(sequence)?;
        Some(Position { failed_at: record.failed_at, sequence })
    }

    /// The sequence of any entry there ever was. DLQ IDs that were made up end in it.
    fn sequence(&self, dlq_id: &str) -> Option<u64> {
        let made_up = dlq_id.rsplit_once('-').and_then(|(_, sequence)| sequence.parse().ok());
        let is_this_one =
            |sequence| self.ledger.record(sequence).is_some_and(|record| *record.dlq_id == *dlq_id);
        made_up.filter(|sequence| is_this_one(*sequence)).or_else(|| self.given.get(dlq_id).copied())
    }
}

/// The first so many that match, and the position of the last of them when more do.
fn first_matching<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    filter: &Filter,
    limit: usize,
) -> (Vec<&'a Entry>, Option<Position>) {
    let mut matching = entries.filter(|entry| filter.matches(entry));
    let page: Vec<&Entry> = matching.by_ref().take(limit).collect();
    let last = page.last().filter(|_| matching.next().is_some()).map(|entry| entry.position());
    (page, last)
}

/// Where the entries are that an action is about, unless one of them stands in its way.
fn acted_on(action: Action, entries: &[&Entry]) -> Result<Vec<Position>, Refusal> {
    if action == Action::Resume && entries.iter().any(|entry| entry.unresumable) {
        return Err(Refusal::bad_request(
            "a workflow run cannot be resumed: its code changed before the failed step",
        ));
    }
    Ok(entries.iter().map(|entry| entry.position()).collect())
}

/// `wfr_` and 32 hexadecimal digits, written by hand: the formatting machinery takes four times as long.
fn new_run_id(random: &mut Random) -> Arc<str> {
    let mut text = *b"wfr_00000000000000000000000000000000";
    let digits = [random.number(), random.number()].map(u64::to_be_bytes);
    for (pair, byte) in text[4..].chunks_exact_mut(2).zip(digits.as_flattened()) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    String::from_utf8_lossy(&text).into()
}

fn unknown_entry() -> Refusal {
    Refusal::not_found("DLQ message not found")
}

#[cfg(test)]
mod tests;

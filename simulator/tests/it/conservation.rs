//! Nothing is lost and nothing is doubled, whatever happens.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use dlq_simulator::{
    api,
    clock::{self, Millis},
    dlq::Refail,
    entry::{FailureFunctionState, NewEntry, Seed},
    faults::{
        BodyFault, CursorFault, DropTime, Fault, FaultPlan, Loss, RateLimit, RateLimitHeaders, Rule,
        StatusFault,
    },
    service::{Order, Service},
    simulator::{NewToken, Simulator, UNAUTHORIZED, lock},
};
use futures::FutureExt;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;

use self::audit::{Ledger, audit};
use crate::harness::ORDERS;

#[cfg(test)]
mod audit;
#[cfg(test)]
mod concurrent;

const DLQ: &str = "a";
const WRITER: &str = "writer";
const READER: &str = "reader";
const NOBODY: &str = "nobody";
const HOUR: Millis = 3_600_000;

#[derive(Debug, Clone)]
enum Step {
    Seed(Vec<NewEntry>),
    Call(Call),
    Refail(Option<Refail>),
    Order(Order),
    AnHourPasses,
    ForgetCalls,
}

#[derive(Debug, Clone)]
struct Call {
    client: usize,
    token: &'static str,
    method: &'static str,
    path: &'static str,
    selects: Selects,
    fault: Option<Fault>,
}

#[derive(Debug, Clone)]
enum Selects {
    Page { count: usize, label: Option<&'static str>, cursor: From },
    Ids(Vec<Index>),
    One(Index),
}

#[derive(Debug, Clone, Copy)]
enum From {
    TheStart,
    OwnCursor,
    OtherClientsCursor,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let refail = (prop_oneof![Just(0_u32), Just(1_800_000)], proptest::option::of(1_u32..3))
        .prop_map(|(delay_ms, times)| Refail { delay_ms, times });
    let step = prop_oneof![
        3 => proptest::collection::vec(entry(), 1..12).prop_map(Step::Seed),
        12 => call().prop_map(Step::Call),
        1 => proptest::option::weighted(0.8, refail).prop_map(Step::Refail),
        1 => proptest::sample::select(ORDERS.as_slice()).prop_map(Step::Order),
        1 => Just(Step::AnHourPasses),
        1 => Just(Step::ForgetCalls),
    ];
    proptest::collection::vec(step, 1..40)
}

fn entry() -> impl Strategy<Value = NewEntry> {
    let label = prop_oneof![Just("x"), Just("y")];
    // A second ago, so that it expires at once; within the hour; never.
    let expiry = proptest::option::weighted(0.3, prop_oneof![Just(-1000), Just(HOUR / 2)]);
    (label, expiry, -3_i64..3, proptest::bool::weighted(0.05), any::<bool>()).prop_map(
        |(label, expiry, failed, unresumable, function_failed)| NewEntry {
            labels: Some([label.into()].into()),
            // Times are of the moment of seeding: see `World::seed`.
            expires_at: expiry,
            failed_at: Some(failed),
            unresumable: Some(unresumable),
            failure_function_state: function_failed.then_some(FailureFunctionState::CallbackFail),
            ..NewEntry::default()
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let bulk = proptest::sample::select(vec![
        ("POST", "/resume"),
        ("POST", "/restart"),
        ("DELETE", ""),
        ("GET", ""),
    ]);
    let single = proptest::sample::select(vec![
        ("POST", "/resume/"),
        ("POST", "/restart/"),
        ("DELETE", "/"),
        ("GET", "/"),
        ("POST", "/callback/"),
        ("DELETE", "/callback/"),
    ]);
    let label = proptest::option::of(prop_oneof![Just("x"), Just("y")]);
    let from = prop_oneof![Just(From::TheStart), Just(From::OwnCursor), Just(From::OtherClientsCursor)];
    let page =
        (1_usize..8, label, from).prop_map(|(count, label, cursor)| Selects::Page { count, label, cursor });
    let ids = proptest::collection::vec(any::<Index>(), 1..6).prop_map(Selects::Ids);
    let selects = prop_oneof![
        4 => (bulk.clone(), page),
        1 => (bulk, ids),
        2 => (single, any::<Index>().prop_map(Selects::One)),
    ];
    let token = prop_oneof![12 => Just(WRITER), 1 => Just(READER), 1 => Just(NOBODY)];
    (0_usize..2, token, selects, proptest::option::weighted(0.4, fault())).prop_map(
        |(client, token, ((method, path), selects), fault)| Call {
            client,
            token,
            method,
            path,
            selects,
            fault,
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let status =
        StatusFault { code: 503, headers: [].into(), body: None, content_type: None, after_action: false };
    prop_oneof![
        proptest::sample::select(vec![
            Fault::Status(status),
            Fault::LostAnswer { how: Loss::Close },
            Fault::LostAnswer { how: Loss::Status500 },
            Fault::LostAnswer { how: Loss::Hang },
            Fault::Drop { when: DropTime::BeforeAction },
            Fault::Drop { when: DropTime::DuringBody },
            Fault::Drop { when: DropTime::AfterHeaders },
            Fault::Drop { when: DropTime::AfterBody },
            Fault::Quota {},
            Fault::RateLimit(RateLimit { headers: RateLimitHeaders::Burst, reset_in_seconds: 1 }),
            Fault::Body { kind: BodyFault::Empty, bytes: None },
            Fault::Cursor(CursorFault::Repeat),
            Fault::Cursor(CursorFault::EmptyPage),
            Fault::Ignore { parameters: vec!["label".into()] },
        ]),
        (1_usize..5).prop_map(|count| Fault::Expire { count }),
        (1_usize..5).prop_map(|count| Fault::Arrive { count }),
    ]
}

/// A simulator, two clients of one DLQ, and what the test itself knows about that DLQ.
struct World {
    simulator: Arc<Simulator>,
    cursors: [Option<String>; 2],
    seeded: u64,
    forgotten: u64,
    /// Of entries that are or were in the DLQ, and one that never was.
    known_ids: Vec<String>,
}

impl World {
    fn new(order: Order) -> Self {
        let simulator = Simulator::with_order(order);
        for (token, read_only) in [(WRITER, false), (READER, true)] {
            simulator.put_token(token.into(), NewToken { dlq: Some(DLQ.into()), read_only });
        }
        let known_ids = vec!["never-was".into()];
        Self { simulator: Arc::new(simulator), cursors: [None, None], seeded: 0, forgotten: 0, known_ids }
    }

    /// Does one step, and then looks whether everything is still accounted for.
    fn take(&mut self, step: Step) {
        let mut answered = None;
        match step {
            Step::Seed(entries) => self.seed(entries),
            Step::Call(call) => answered = Some((self.answer(&call), call)),
            Step::Refail(refail) => lock(&self.simulator.dlq(DLQ)).set_refail(refail),
            Step::Order(order) => {
                lock(&self.simulator.dlq(DLQ)).set_service(Service { order, ..Service::default() });
            }
            Step::AnHourPasses => lock(&self.simulator.dlq(DLQ)).settle(clock::now() + HOUR),
            Step::ForgetCalls => {
                let dlq = self.simulator.dlq(DLQ);
                let calls = &mut lock(&dlq).ledger.calls;
                self.forgotten = calls.last().map_or(self.forgotten, |call| call.seq);
                calls.clear();
            }
        }
        let ledger = self.audit(DLQ, self.forgotten);
        assert_eq!(ledger.arrivals.seeded, self.seeded, "nothing comes from nowhere");
        match answered {
            Some((_, call)) if call.token == NOBODY => drop(self.audit(UNAUTHORIZED, 0)),
            Some((body, call)) => self.compare(&call, body, &ledger),
            None => {}
        }
        self.known_ids.splice(1.., ledger.entries.into_iter().map(|record| record.dlq_id));
    }

    fn seed(&mut self, mut entries: Vec<NewEntry>) {
        let now = clock::now();
        for time in entries.iter_mut().flat_map(|entry| [&mut entry.expires_at, &mut entry.failed_at]) {
            *time = time.map(|offset| now + offset);
        }
        self.seeded += entries.len() as u64;
        let dlq = self.simulator.dlq(DLQ);
        lock(&dlq).seed(Seed { entries, generate: None }, now).expect("made-up IDs are fresh");
    }

    /// Makes a call. Gives the JSON of its answer, if that arrived and is no refusal.
    fn answer(&mut self, call: &Call) -> Option<Value> {
        if let (Some(Fault::Arrive { count }), true) = (&call.fault, call.token != NOBODY) {
            self.seeded += *count as u64;
        }
        self.simulator
            .faults()
            .replace(FaultPlan { seed: None, rules: call.fault.clone().map(always).into_iter().collect() });
        let request = Request::builder()
            .method(call.method)
            .uri(format!("/v2/workflows/dlq{}{}", call.path, self.rest_of_url(call)))
            .header("authorization", format!("Bearer {}", call.token))
            .body(Body::empty())
            .expect("a legal request");
        // What is not there at once never comes: nothing here waits but a hanging answer.
        let response = api::answer(Arc::clone(&self.simulator), request).now_or_never()?.ok()?;
        if !response.status().is_success() || call.fault.as_ref().is_some_and(|fault| !fault.delivers()) {
            return None;
        }
        let body = to_bytes(response.into_body(), usize::MAX).now_or_never()?.expect("a whole body");
        serde_json::from_slice(&body).ok()
    }

    /// What the call did and what its caller was told is what the ledger says.
    fn compare(&mut self, call: &Call, body: Option<Value>, ledger: &Ledger) {
        let told = ledger.calls.last().expect("every call is written down");
        if call.token == READER || stops_the_action(call) {
            let taken = ledger.entries.iter().find(|record| record.call_seq == Some(told.seq));
            assert!(taken.is_none(), "{call:?} must not act, but took {taken:?}");
        }
        if let Some(asked) = self.asked(call) {
            assert!(told.dlq_ids.iter().all(|id| asked.contains(id)), "{call:?} is not about {told:?}");
        }
        let Some(body) = body else { return };
        assert_eq!(told.status, 200, "{told:?} {body}");
        if let Some(runs) = body["workflowRuns"].as_array() {
            let new_run = |id: &String| {
                let record = ledger.entries.iter().find(|record| record.dlq_id == *id);
                record.and_then(|record| record.new_workflow_run_id.as_deref()).unwrap_or("none")
            };
            assert_eq!(texts(runs, "workflowRunId"), told.dlq_ids.iter().map(new_run).collect::<Vec<_>>());
        }
        if let Some(deleted) = body["deleted"].as_u64() {
            assert_eq!(deleted, told.dlq_ids.len() as u64);
        }
        if let Some(messages) = body["messages"].as_array() {
            assert_eq!(texts(messages, "dlqId"), told.dlq_ids);
        }
        if matches!(call.selects, Selects::Page { .. }) {
            self.is_in_order(&told.dlq_ids, ledger);
        }
        self.cursors[call.client] = body["cursor"].as_str().map(ToOwned::to_owned);
    }

    /// A page holds its entries in the order of the DLQ.
    fn is_in_order(&self, page: &[String], ledger: &Ledger) {
        // Records are in order of arrival, so an index decides between failures of one time.
        let place = |id: &String| {
            let index = ledger.entries.iter().position(|record| record.dlq_id == *id);
            index.map(|index| (ledger.entries[index].failed_at, index))
        };
        let places: Vec<_> = page.iter().map(place).collect();
        let order = lock(&self.simulator.dlq(DLQ)).service().order;
        let in_order = match order {
            Order::OldestFirst => places.is_sorted(),
            Order::NewestFirst => places.iter().rev().is_sorted(),
        };
        assert!(in_order, "{order:?}: {places:?}");
    }

    fn rest_of_url(&self, call: &Call) -> String {
        match &call.selects {
            Selects::One(_) => self.asked(call).unwrap_or_default().concat(),
            Selects::Ids(_) => format!("?dlqIds={}", self.asked(call).unwrap_or_default().join(",")),
            Selects::Page { count, label, cursor } => {
                let cursor = match cursor {
                    From::TheStart => None,
                    From::OwnCursor => self.cursors[call.client].as_deref(),
                    From::OtherClientsCursor => self.cursors[1 - call.client].as_deref(),
                };
                let cursor = utf8_percent_encode(cursor.unwrap_or_default(), NON_ALPHANUMERIC);
                format!("?count={count}&label={}&cursor={cursor}", label.unwrap_or_default())
            }
        }
    }

    /// The entries that a call names.
    fn asked(&self, call: &Call) -> Option<Vec<String>> {
        let picks = match &call.selects {
            Selects::One(index) => std::slice::from_ref(index),
            Selects::Ids(picks) => picks,
            Selects::Page { .. } => return None,
        };
        Some(picks.iter().map(|index| index.get(&self.known_ids).clone()).collect())
    }

    fn audit(&self, dlq: &str, forgotten: u64) -> Ledger {
        let dlq = self.simulator.dlq(dlq);
        let dlq = lock(&dlq);
        let ledger = serde_json::to_value(&dlq.ledger).expect("a ledger is JSON");
        let entries = dlq.entries().map(|entry| serde_json::to_value(entry).expect("an entry is JSON"));
        audit(ledger, entries.collect(), forgotten)
    }
}

/// The call is dropped or answered before anything happens.
fn stops_the_action(call: &Call) -> bool {
    match &call.fault {
        Some(fault) if fault.prevents_action() => true,
        // There are no pages, and so no empty ones, for calls by ID.
        Some(Fault::Cursor(CursorFault::EmptyPage)) => matches!(call.selects, Selects::Page { .. }),
        _ => false,
    }
}

fn always(fault: Fault) -> Rule {
    Rule {
        dlq: None,
        token: None,
        operation: None,
        nth: None,
        from: None,
        times: None,
        probability: None,
        fault,
    }
}

fn texts<'a>(items: &'a [Value], field: &str) -> Vec<&'a str> {
    items.iter().filter_map(|item| item[field].as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_entry_is_accounted_for_after_every_step_in_either_order(
        order in proptest::sample::select(ORDERS.as_slice()),
        steps in steps(),
    ) {
        let mut world = World::new(order);
        for step in steps {
            world.take(step);
        }
    }
}

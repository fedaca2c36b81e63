//! What can happen in the world.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::api_server::Fault;
use super::upstash::{Fate, Right};
use crate::attempt::Interrupt;
use dlq_upstash::error::ErrorClass;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// So many milliseconds pass.
    Pass(i64),
    /// The process' clock is set by so many.
    Jump(i64),
    /// The process takes a turn with the policy.
    Turn(Slice),
    /// The process dies.
    Crash,
    /// Two processes take themselves for the one in charge: the other one's turn.
    Rival,
    /// The process stops cleanly, and another comes.
    Stop,
    /// Likewise, with other flags.
    Restart { force_dry_run: bool, pause_all: bool },
    /// Fields of the spec are edited; null removes one.
    Edit(Value),
    /// An annotation is set or removed.
    Annotate(&'static str, Option<String>),
    /// Somebody approves the run that waits, or waited last.
    Approve,
    /// The Secret changes.
    Secret(Secret),
    /// So many workflow runs fail.
    Fail(u8),
    /// Writes that were held up arrive.
    Arrive,
}

/// What a turn meets.
#[derive(Clone, Debug, Default)]
pub(super) struct Slice {
    /// What becomes of its calls, the first one last.
    pub(super) fates: Vec<Fate>,
    /// What becomes of further ones.
    pub(super) otherwise: Fate,
    /// What becomes of its writes, the first one last.
    pub(super) faults: Vec<Fault>,
    /// The process dies after so many steps.
    pub(super) crash_after: Option<u8>,
    /// How long a call takes.
    pub(super) latency: i64,
    /// Whether it writes after every page.
    pub(super) every_page: bool,
    /// Whether it has to wait for a permit first.
    pub(super) queued: bool,
    /// How many more permits it gets.
    pub(super) further_permits: u8,
    /// What happens while it waits for something, the first one last.
    pub(super) meanwhile: Vec<Operation>,
    /// After how many steps the watch tells of an edit. None: at once.
    pub(super) lag: Option<u8>,
    /// Which of its reads get no answer, the first one last.
    pub(super) unread: Vec<bool>,
    /// What it is told after so many steps.
    pub(super) interrupt: Option<(u8, Interrupt)>,
    /// Whether it may look at what waits.
    pub(super) looks: bool,
    /// The share of each backoff.
    pub(super) jitter: f64,
    /// It is given the policy as it was so many changes ago, if it has a use for it, and whether a list showed that.
    pub(super) in_hand: Option<(usize, bool)>,
}

impl Slice {
    /// Whether the process dies here.
    pub(super) fn crashes(&mut self) -> bool {
        let dies = self.crash_after == Some(0);
        self.crash_after = self.crash_after.map(|left| left.saturating_sub(1));
        dies
    }

    /// What the process is told here.
    pub(super) fn interrupts(&mut self) -> Option<Interrupt> {
        match &mut self.interrupt {
            Some((0, _)) => self.interrupt.take().map(|(_, why)| why),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

/// The Secret with the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Secret {
    Gone,
    Empty,
    Token { number: u8, right: Right },
}

impl Default for Secret {
    fn default() -> Self {
        Self::Token { number: 0, right: Right::All }
    }
}

impl Secret {
    /// What a token may do: one that was replaced, nothing any more.
    pub(super) fn right_of(self, token: u8) -> Right {
        match self {
            Self::Token { number, right } if number == token => right,
            Self::Token { .. } => Right::None,
            // A Secret that goes takes no right away.
            Self::Gone | Self::Empty => Right::All,
        }
    }
}

/// Everything that one case is made of.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) spec: Value,
    pub(super) operations: Vec<Operation>,
    /// What it leads to from then on.
    pub(super) calm: Slice,
    pub(super) calm_secret: Secret,
    /// Whether a run that waits then is approved.
    pub(super) calm_approves: bool,
}

pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    let calm_secret = prop_oneof![4 => Just(Right::All), 1 => Just(Right::List), 1 => Just(Right::None)]
        .prop_map(|right| Secret::Token { number: 9, right });
    (spec(), vec(operation(), 10..60), calm(), calm_secret, any::<bool>()).prop_map(
        |(spec, operations, calm, calm_secret, calm_approves)| Scenario {
            spec,
            operations,
            calm,
            calm_secret,
            calm_approves,
        },
    )
}

fn calm() -> impl Strategy<Value = Slice> {
    let class = prop_oneof![
        Just(ErrorClass::RateLimited),
        Just(ErrorClass::Unavailable),
        Just(ErrorClass::Unauthorized),
        Just(ErrorClass::Forbidden),
        Just(ErrorClass::NotFound),
        Just(ErrorClass::Refused),
        Just(ErrorClass::QuotaExceeded),
        Just(ErrorClass::TooLarge),
        Just(ErrorClass::Unexpected),
    ];
    let otherwise = prop_oneof![
        4 => Just(Fate::Served),
        1 => Just(Fate::Refail),
        1 => Just(Fate::Empty),
        2 => Just(Fate::Circle),
        4 => Just(Fate::Unfiltered),
        2 => any::<bool>().prop_map(|acts| Fate::AnswerLost { acts }),
        2 => (class, option::of(0_u64..4000))
            .prop_map(|(class, retry_after)| Fate::Refused { class, retry_after }),
    ];
    (otherwise, 1_i64..400, 0.0..=1.0, any::<bool>(), any::<bool>()).prop_map(
        |(otherwise, latency, jitter, every_page, looks)| Slice {
            otherwise,
            latency,
            every_page,
            looks,
            jitter,
            further_permits: 15,
            ..Slice::default()
        },
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    let class = prop_oneof![
        4 => Just(ErrorClass::Unavailable),
        3 => Just(ErrorClass::RateLimited),
        1 => Just(ErrorClass::NotFound),
        1 => Just(ErrorClass::Refused),
        1 => Just(ErrorClass::Unauthorized),
        1 => Just(ErrorClass::Forbidden),
        1 => Just(ErrorClass::QuotaExceeded),
        1 => Just(ErrorClass::TooLarge),
        1 => Just(ErrorClass::Unexpected),
    ];
    prop_oneof![
        8 => Just(Fate::Served),
        2 => (1_u8..40).prop_map(Fate::More),
        2 => Just(Fate::Fewer),
        2 => Just(Fate::Empty),
        1 => Just(Fate::Circle),
        4 => Just(Fate::Unfiltered),
        2 => Just(Fate::Refail),
        2 => any::<bool>().prop_map(|acts| Fate::AnswerLost { acts }),
        1 => any::<bool>().prop_map(|acts| Fate::Abandoned { acts }),
        3 => (class, option::weighted(0.3, 0_u64..4000))
            .prop_map(|(class, retry_after)| Fate::Refused { class, retry_after }),
    ]
}

/// A turn that may meet trouble of every kind.
pub(super) fn slice() -> impl Strategy<Value = Slice> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Lost),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Late),
        1 => Just(Fault::Conflict),
    ];
    let faults = prop_oneof![2 => Just(Vec::new()), 1 => vec(fault, 1..6)];
    let latency = prop_oneof![Just(1_i64), 20..500_i64, Just(4000)];
    let jitter = prop_oneof![Just(0.0), 0.0..=1.0];
    let fates = prop_oneof![
        5 => vec(fate(), 0..12),
        // Trouble seldom comes alone.
        1 => (fate(), 1_usize..12).prop_map(|(fate, count)| vec![fate; count]),
    ];
    let meanwhile = prop_oneof![
        3 => Just(Vec::new()),
        1 => vec(
            prop_oneof![edit().prop_map(Operation::Edit), annotation(), Just(Operation::Approve)],
            1..4,
        ),
    ];
    let unread = prop_oneof![4 => Just(Vec::new()), 1 => vec(any::<bool>(), 1..4)];
    let interrupt = prop_oneof![Just(Interrupt::Gone), Just(Interrupt::TermOver)];
    let interrupt = option::weighted(0.1, (0_u8..30, interrupt));
    let crash_after = option::weighted(0.15, 0_u8..40);
    let trouble = (faults, crash_after, unread, interrupt);
    let meanwhile = (meanwhile, option::weighted(0.4, 0_u8..20));
    let in_hand = option::weighted(0.3, (prop_oneof![2 => Just(0_usize), 1 => 1_usize..8], any::<bool>()));
    let further_permits = prop_oneof![1 => 0_u8..4, 3 => Just(15)];
    let line = (in_hand, further_permits);
    (fates, trouble, latency, any::<(bool, bool)>(), jitter, meanwhile, line).prop_map(
        |(
            fates,
            (faults, crash_after, unread, interrupt),
            latency,
            (every_page, looks),
            jitter,
            (meanwhile, lag),
            (in_hand, further_permits),
        )| Slice {
            queued: fates.len() == 3,
            further_permits,
            fates,
            otherwise: Fate::Served,
            faults,
            crash_after,
            latency,
            every_page,
            looks,
            jitter,
            meanwhile,
            lag,
            unread,
            interrupt,
            in_hand,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let pass = prop_oneof![
        3 => 1..SECOND,
        3 => SECOND..MINUTE,
        4 => MINUTE..20 * MINUTE,
        1 => HOUR..10 * HOUR,
        1 => DAY..5 * DAY,
    ];
    let jump = prop_oneof![
        -3 * SECOND..3 * SECOND,
        -10 * MINUTE..10 * MINUTE,
        -6 * HOUR..6 * HOUR,
        DAY..3 * DAY,
        -5 * DAY..-DAY,
    ];
    let number = 0_u8..4;
    let right = prop_oneof![4 => Just(Right::All), 1 => Just(Right::List), 1 => Just(Right::None)];
    let secret = prop_oneof![
        1 => Just(Secret::Gone),
        1 => Just(Secret::Empty),
        4 => (number, right).prop_map(|(number, right)| Secret::Token { number, right }),
    ];
    prop_oneof![
        8 => pass.prop_map(Operation::Pass),
        1 => jump.prop_map(Operation::Jump),
        12 => slice().prop_map(Operation::Turn),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Rival),
        1 => Just(Operation::Stop),
        1 => (prop::bool::weighted(0.25), prop::bool::weighted(0.25))
            .prop_map(|(force_dry_run, pause_all)| Operation::Restart { force_dry_run, pause_all }),
        3 => edit().prop_map(Operation::Edit),
        3 => annotation(),
        3 => Just(Operation::Approve),
        3 => secret.prop_map(Operation::Secret),
        2 => (1_u8..60).prop_map(Operation::Fail),
        2 => Just(Operation::Arrive),
    ]
}

fn annotation() -> impl Strategy<Value = Operation> {
    let value = prop_oneof![
        6 => "[a-d]".prop_map(Some),
        1 => Just(None),
        1 => Just(Some("é".repeat(200))),
    ];
    let at = prop_oneof![
        4 => Just("requestedAt"),
        2 => Just("cancelAt"),
        2 => Just("resetAt"),
        1 => Just("approvedRun"),
    ];
    let paused =
        prop_oneof![3 => Just(None), 1 => Just(Some("false".to_owned())), 1 => Just(Some("yes".to_owned()))];
    let mode = prop_oneof![
        2 => Just(None),
        3 => Just(Some("DryRun".to_owned())),
        1 => Just(Some("dryrun".to_owned())),
    ];
    prop_oneof![
        2 => mode.prop_map(|value| Operation::Annotate("requestedMode", value)),
        6 => (at, value).prop_map(|(key, value)| Operation::Annotate(key, value)),
        2 => paused.prop_map(|value| Operation::Annotate("paused", value)),
        1 => "[é ]{0,300}".prop_map(|text| Operation::Annotate("requestedBy", Some(text))),
    ]
}

/// A valid spec, part by part.
fn spec() -> impl Strategy<Value = Value> {
    let parts = (
        action(),
        filters(),
        by_listing(),
        timing(),
        limits(),
        failure_policy(),
        history(),
        (dry_run(), connection()),
        backlog(),
    );
    parts.prop_map(|parts| {
        let (action, filters, by_listing, timing, limits, failure_policy, history, shared, backlog) = parts;
        let (dry_run, connection) = shared;
        let mut spec = serde_json::Map::new();
        let is_of_ids = filters["filters"].get("dlqIds").is_some();
        let by_listing = by_listing.filter(|_| !is_of_ids && action["action"] != "delete");
        let by_listing = by_listing.unwrap_or_else(|| json!({}));
        let whole = [action, filters, by_listing, timing, limits, failure_policy, history, dry_run];
        for part in whole.into_iter().chain([backlog, connection]) {
            spec.extend(part.as_object().unwrap().clone());
        }
        spec.retain(|_, value| !value.is_null());
        spec.into()
    })
}

/// One part of a spec becomes another.
fn edit() -> impl Strategy<Value = Value> {
    let nonsense = json!({"schedule": "61 * * * *", "jitter": null, "startingDeadlineSeconds": null});
    prop_oneof![
        1 => action(),
        2 => filters(),
        3 => timing(),
        2 => concurrency().prop_map(|concurrency| json!({"concurrencyPolicy": concurrency})),
        1 => Just(nonsense),
        1 => limits(),
        1 => failure_policy(),
        2 => history(),
        1 => dry_run(),
        1 => by_listing().prop_map(|part| part.unwrap_or_else(|| json!({"match": null, "loopProtection": null}))),
        1 => backlog(),
        1 => connection(),
        4 => prop::bool::weighted(0.4).prop_map(|suspend| json!({"suspend": suspend})),
    ]
}

/// Some share a connection, whose budget may be spent.
fn connection() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!({"connection": null})),
        1 => Just(json!({"connection": {"name": "production"}})),
    ]
}

fn action() -> impl Strategy<Value = Value> {
    prop_oneof![Just("resume"), Just("restart"), Just("delete")].prop_map(|action| json!({"action": action}))
}

fn filters() -> impl Strategy<Value = Value> {
    let age = prop_oneof![Just(None), Just(Some("2h")), Just(Some("1d"))];
    let ids = (1_usize..130, 0_usize..90).prop_map(|(count, first)| {
        let ids: Vec<_> = (first..first + count).map(|number| format!("dlq-{number}")).collect();
        json!({"dlqIds": ids})
    });
    prop_oneof![
        2 => Just(json!({"all": true})),
        4 => (age, option::of(Just("10m"))).prop_map(|(newer, older)| {
            let mut filters = json!({"labels": ["a"]});
            filters.as_object_mut().unwrap().extend(newer.map(|age| ("newerThan".into(), age.into())));
            filters.as_object_mut().unwrap().extend(older.map(|age| ("olderThan".into(), age.into())));
            filters
        }),
        3 => ids,
        1 => Just(json!({"dlqIds": ["dlq-7"]})),
    ]
    .prop_map(|filters| json!({"filters": filters}))
}

/// What is decided on listed entries, where it goes with the rest.
fn by_listing() -> impl Strategy<Value = Option<Value>> {
    let protection = (1..4).prop_map(|most| json!({"match": null, "loopProtection": {"maxAttempts": most}}));
    prop_oneof![
        5 => Just(None),
        2 => protection.prop_map(Some),
        1 => Just(Some(json!({"match": {"responseStatuses": ["5xx"]}, "loopProtection": null}))),
        1 => Just(Some(json!({
            "match": {"responseStatuses": ["5xx"], "attempts": {"max": 1}, "expression": "size(entry.labels) < 9"},
            "loopProtection": {"maxAttempts": 2},
        }))),
    ]
}

fn concurrency() -> impl Strategy<Value = Option<&'static str>> {
    option::of(prop_oneof![Just("Forbid"), Just("Replace")])
}

fn timing() -> impl Strategy<Value = Value> {
    let schedule = prop_oneof![
        Just("*/5 * * * *"),
        Just("* * * * *"),
        Just("7 */2 * * *"),
        Just("@every 90s"),
        Just("@every 7m"),
        Just("@every 1s"),
    ];
    let jitter = option::weighted(0.4, prop_oneof![Just("30s"), Just("4m"), Just("1h")]);
    let deadline = option::weighted(0.4, prop_oneof![Just(0), Just(10), Just(200), Just(4000)]);
    let scheduled =
        (schedule, jitter, deadline, concurrency()).prop_map(|(schedule, jitter, deadline, concurrency)| {
            json!({"schedule": schedule, "jitter": jitter, "startingDeadlineSeconds": deadline,
            "concurrencyPolicy": concurrency, "trigger": null})
        });
    let none = option::of(prop_oneof![Just("OnChange"), Just("Manual")]).prop_map(|trigger| {
        json!({"schedule": null, "jitter": null, "startingDeadlineSeconds": null,
            "concurrencyPolicy": null, "trigger": trigger})
    });
    prop_oneof![3 => scheduled, 1 => none]
}

fn limits() -> impl Strategy<Value = Value> {
    let page = prop_oneof![1 => 1..8, 2 => 8..=100];
    let most = option::weighted(0.4, 1..80);
    let rate = option::weighted(0.4, prop_oneof![1..10, 10..100, 100..3000]);
    let deadline = option::weighted(0.4, prop_oneof![1..5, 5..4000]);
    let parallelism = option::weighted(0.5, 1..=16);
    let approval = option::weighted(0.4, prop_oneof![Just(0), 1..40, Just(60)]);
    let parts = (page, most, rate, deadline, parallelism, approval);
    parts.prop_map(|(page, most, rate, deadline, parallelism, approval)| {
        let mut limits = json!({"pageSize": page});
        for (name, limit) in [
            ("maxEntriesPerRun", most),
            ("entriesPerSecond", rate),
            ("activeDeadlineSeconds", deadline),
            ("parallelism", parallelism),
            ("approvalAbove", approval),
        ] {
            limits.as_object_mut().unwrap().extend(limit.map(|limit: i32| (name.to_owned(), limit.into())));
        }
        json!({"limits": limits})
    })
}

fn failure_policy() -> impl Strategy<Value = Value> {
    option::of(1..4).prop_map(|most| match most {
        Some(most) => json!({"failurePolicy": {"openCircuitAfter": most}}),
        None => json!({"failurePolicy": null}),
    })
}

fn history() -> impl Strategy<Value = Value> {
    prop_oneof![Just(0), Just(1), Just(3), Just(50), 0..=50].prop_map(|limit| json!({"historyLimit": limit}))
}

fn backlog() -> impl Strategy<Value = Value> {
    let interval = prop_oneof![2 => Just("1m"), 1 => Just("7m"), 1 => Just("2h")];
    let retention = option::of(prop_oneof![Just("1d"), Just("3d")]);
    let backlog =
        (interval, prop_oneof![Just(100), 100..400], retention).prop_map(|(interval, most, retention)| {
            let mut backlog = json!({"interval": interval, "countUpTo": most});
            backlog
                .as_object_mut()
                .unwrap()
                .extend(retention.map(|age| ("retention".to_owned(), age.into())));
            backlog
        });
    option::weighted(0.7, backlog).prop_map(|backlog| json!({"backlog": backlog}))
}

fn dry_run() -> impl Strategy<Value = Value> {
    prop::bool::weighted(0.25).prop_map(|dry_run| json!({"dryRun": dry_run}))
}

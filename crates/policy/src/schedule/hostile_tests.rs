//! Whatever a policy names as its schedule, zone and jitter: an answer comes, in time.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;

use super::Schedule;
use dlq_crd::Reason;

/// A hundred times what the slowest question takes, for a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(2);

const GOOD: [&str; 14] = [
    "*/15 * * * *",
    "0 0 29 2 1",
    "59 23 31 12 SUN",
    "0-59/7 0-23/5 1-31/3 JAN-DEC/2 MON-FRI",
    "? ? ? ? ?",
    "1,2,3 4 5 6 7",
    "0 0 L * *",
    "@hourly",
    "@yearly",
    "@every 1h30m",
    "@every 0.333333333333h",
    "@every 9223372036s",
    "0 0 30 2 *",
    "00000059 0 1-1/99999999999 * *",
];

fn alteration() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let piece = prop_oneof![
        Just(String::new()),
        "[0-9*/,?LW#@ -]{1,6}",
        "\\PC{1,4}",
        Just("99999999999999999999".to_owned()),
        Just("-9223372036854775808".to_owned()),
    ];
    (any::<prop::sample::Index>(), 0_usize..4, piece)
}

/// A good schedule with some of its characters in other hands.
fn altered() -> impl Strategy<Value = String> {
    let good = prop::sample::select(GOOD.as_slice());
    (good, prop::collection::vec(alteration(), 0..4)).prop_map(|(text, alterations)| {
        alterations.into_iter().fold(text.to_owned(), |text, (place, length, piece)| {
            let characters: Vec<char> = text.chars().collect();
            let start = place.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            let (before, after) = (characters[..start].iter(), characters[end..].iter());
            before.copied().chain(piece.chars()).chain(after.copied()).collect()
        })
    })
}

/// Up to 100 characters, as the definition admits.
fn schedule() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => altered(),
        2 => "(@every )?[0-9*/,?hmsun.+ -]{0,100}",
        1 => "\\PC{0,100}",
        1 => "([0-9]{1,2}(-[0-9]{1,2})?(/[0-9]{1,3})?,?){1,6}( [*0-9/,-]{1,8}){4}",
        1 => Just("*".repeat(100)),
        1 => Just(format!("{}* * * * *", "0,".repeat(45))),
    ]
    .prop_map(|text| text.chars().take(100).collect())
}

fn zone() -> impl Strategy<Value = Option<String>> {
    let name = prop_oneof![
        3 => prop::sample::select(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"].as_slice())
            .prop_map(str::to_owned),
        2 => "[A-Za-z0-9_+/-]{1,64}",
        1 => prop::sample::select(["../../etc/passwd", "/etc/localtime", "posix/UTC", "Local", "utc", "Etc/Unknown",
            "right/UTC", "Europe/Berlin/", "Etc/GMT+99", "", "\0", "tzdata.zi", "zone.tab"].as_slice()).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::option::of(name)
}

fn timely<T>(what: &str, question: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = question();
    assert!(start.elapsed() < PATIENCE, "{what} took {:?}", start.elapsed());
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn any_text_is_a_schedule_or_refused_and_no_question_searches_without_end(
        text in schedule(),
        zone in zone(),
        jitter in prop::option::of("([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?|\\PC{0,36}"),
        after in 0_i64..253_370_764_800,
        span in 0_i64..4_000_000_000,
    ) {
        let parsed = timely("reading", || Schedule::parse(&text, zone.as_deref(), jitter.as_deref(), "payments/a"));
        match parsed {
            Err(invalid) => {
                let reasons = [Reason::InvalidSchedule, Reason::InvalidTimeZone, Reason::InvalidSpec];
                prop_assert!(reasons.contains(&invalid.reason) && invalid.message.starts_with("spec."));
            }
            Ok(schedule) => {
                let after = Timestamp::from_second(after).unwrap();
                let until = Timestamp::from_second((after.as_second() + span).min(253_370_764_800)).unwrap();
                let next = timely("the next", || schedule.next_after(after, after));
                prop_assert!(next.is_none_or(|next| next > after));
                let last = timely("the most recent", || schedule.most_recent(after, until, after));
                prop_assert!(last.is_none_or(|last| last > after && last <= until));
                let count = timely("the count", || schedule.count_between(after, until, after));
                prop_assert!(count >= 0 && (count == 0 || last.is_some()));
                let start = timely("the jitter", || schedule.jittered(after, after));
                prop_assert!(start >= after);
            }
        }
    }
}

use futures::FutureExt as _;

use super::super::clock::tests::SetClock;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lease of 15 s: work ends 10 s after the last renewal, calls after 13.5 s.
struct Process {
    clock: Arc<SetClock>,
    terms: Arc<Terms>,
    leadership: Leadership,
}

fn process() -> Process {
    let clock = Arc::new(SetClock::start());
    let terms = Arc::new(Terms::new(Arc::<SetClock>::clone(&clock), Timing::new(secs(15))));
    Process { leadership: Leadership::of(Arc::clone(&terms)), clock, terms }
}

impl Process {
    fn renew(&self) -> Renewal {
        self.terms.renewed(self.terms.sending())
    }
}

#[test]
fn without_an_election_one_leads_for_ever() {
    let leadership = Leadership::always();
    let term = leadership.term().unwrap();
    assert!(!term.is_over());
    assert_eq!(term.time_for_a_call(), Duration::MAX);
    assert!(term.over().now_or_never().is_none());
    assert!(leadership.gained().next().now_or_never().is_none());
}

#[test]
fn nobody_leads_before_the_lease_is_theirs() {
    assert!(process().leadership.term().is_none());
}

#[test]
fn a_term_ends_by_the_clock_after_two_thirds_of_the_lease() {
    let process = process();
    assert_eq!(process.renew(), Renewal::Begun);
    let term = process.leadership.term().unwrap();
    process.clock.pass(Duration::from_millis(9_999));
    assert!(!term.is_over() && process.leadership.term().is_some());
    process.clock.pass(Duration::from_millis(1));
    assert!(term.is_over() && process.leadership.term().is_none());
}

#[test]
fn a_call_ends_before_another_could_lead() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    assert_eq!(term.time_for_a_call(), Duration::from_millis(13_500));
    process.clock.pass(secs(9));
    assert_eq!(term.time_for_a_call(), Duration::from_millis(4_500));
    process.clock.pass(secs(1));
    assert_eq!(term.time_for_a_call(), Duration::ZERO);
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    process.clock.pass(secs(2));
    let sent = process.terms.sending();
    process.clock.pass(secs(3));
    assert_eq!(process.terms.renewed(sent), Renewal::Prolonged);
    assert_eq!(term.time_for_a_call(), Duration::from_millis(10_500));
    process.clock.pass(secs(7));
    assert!(term.is_over());
}

#[test]
fn the_end_shows_on_either_clock() {
    for (monotonic, wall) in [(Duration::ZERO, 3_600_000_000), (HOUR, 0), (HOUR, -3_600_000_000)] {
        let process = process();
        process.renew();
        let term = process.leadership.term().unwrap();
        process.clock.turn(monotonic, wall);
        assert!(process.leadership.term().is_none(), "{monotonic:?} {wall}");
        assert_eq!(term.time_for_a_call(), Duration::ZERO);
    }
}

#[test]
fn a_clock_that_is_set_back_gives_no_time() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    process.clock.turn(Duration::ZERO, -3_600_000_000);
    process.clock.pass(secs(10));
    assert!(term.is_over());
}

#[test]
fn a_machine_that_is_suspended_after_its_clock_was_set_back_is_found_out() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    process.clock.turn(Duration::ZERO, -3_600_000_000);
    assert!(!term.is_over());
    process.clock.turn(Duration::ZERO, 10_000_000);
    assert!(term.is_over());
}

#[test]
fn a_clock_that_is_set_back_while_a_renewal_is_under_way_does_not_make_it_newer() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    let sent = process.terms.sending();
    process.clock.turn(Duration::ZERO, -3_600_000_000);
    assert!(!term.is_over());
    process.clock.turn(Duration::ZERO, 11_000_000);
    assert_eq!(process.terms.renewed(sent), Renewal::TooLate);
}

#[test]
fn a_term_that_was_over_does_not_come_back() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    process.clock.turn(Duration::ZERO, 3_600_000_000);
    assert!(term.is_over());
    process.clock.turn(Duration::ZERO, -3_600_000_000);
    assert!(term.is_over(), "nor when the clock is set back");
    assert_eq!(process.renew(), Renewal::Begun);
    assert!(term.is_over(), "nor by a renewal");
    assert!(!process.leadership.term().unwrap().is_over());
}

#[test]
fn a_renewal_after_the_end_begins_another_term_even_if_nobody_has_looked() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    process.clock.pass(secs(11));
    assert_eq!(process.renew(), Renewal::Begun);
    assert!(term.is_over());
}

#[test]
fn an_answer_that_comes_after_a_freeze_begins_nothing() {
    let process = process();
    let sent = process.terms.sending();
    process.clock.pass(HOUR);
    assert_eq!(process.terms.renewed(sent), Renewal::TooLate);
    assert!(process.leadership.term().is_none());
}

#[test]
fn each_beginning_is_told_and_the_term_that_goes_on() {
    let process = process();
    let mut early = process.leadership.gained();
    assert!(early.next().now_or_never().is_none());
    process.renew();
    let mut late = process.leadership.gained();
    for gained in [&mut early, &mut late] {
        assert_eq!(gained.next().now_or_never(), Some(Some(())));
        assert!(gained.next().now_or_never().is_none(), "told once");
    }
    process.renew();
    assert!(early.next().now_or_never().is_none(), "a renewal begins nothing");
    process.terms.end();
    assert!(early.next().now_or_never().is_none(), "nor does an end");
    process.renew();
    assert_eq!(early.next().now_or_never(), Some(Some(())));
}

#[tokio::test]
async fn who_waits_for_the_end_hears_of_it() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    let mut ended = std::pin::pin!(term.over());
    assert!(ended.as_mut().now_or_never().is_none());
    process.terms.end();
    tokio::time::timeout(HOUR / 60, ended).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_the_end_sees_a_clock_that_jumps() {
    let process = process();
    process.renew();
    let term = process.leadership.term().unwrap();
    let mut ended = std::pin::pin!(term.over());
    assert!(ended.as_mut().now_or_never().is_none());
    process.clock.turn(Duration::ZERO, 3_600_000_000);
    tokio::time::timeout(HOUR / 60, ended).await.unwrap();
}

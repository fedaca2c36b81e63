//! How far Upstash's clock is from ours, learnt from the `Date` of its answers. Pure: both clocks' readings come in.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use url::Origin;

/// A `Date` names the second in which it was written.
const PRECISION: SignedDuration = SignedDuration::from_secs(1);
/// Servers write the `Date` from a clock that they read once in a while, and several servers stand behind one address:
/// an offset that is this small may be none.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);
/// A `Date` that is further away than this is some proxy's mistake: a window moved by it would select nothing.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24);

/// Policies may name any number of servers where a pattern allows them. Far more than Upstash has regions.
const MOST_SERVERS: usize = 256;

/// The clocks of all servers, by their address.
#[derive(Debug, Default)]
pub struct Clocks(HashMap<Origin, (Timestamp, ClockOffset)>);

impl Clocks {
    /// As [`ClockOffset::observe`], of one server. The one that was silent for longest makes room for a new one.
    pub fn observe(&mut self, server: Origin, date: Timestamp, sent: Timestamp, received: Timestamp) {
        if self.0.len() >= MOST_SERVERS && !self.0.contains_key(&server) {
            let silent = self.0.iter().min_by_key(|(_, (heard, _))| *heard).map(|(server, _)| server.clone());
            if let Some(silent) = silent {
                self.0.remove(&silent);
            }
        }
        let (heard, offset) = self.0.entry(server).or_default();
        *heard = received;
        offset.observe(date, sent, received);
    }

    /// As [`ClockOffset::value`], of one server.
    pub fn offset(&self, server: &Origin) -> SignedDuration {
        self.0.get(server).map(|(_, offset)| offset.value()).unwrap_or_default()
    }

    /// The offset of the server whose clock is furthest from ours.
    pub fn farthest_offset(&self) -> SignedDuration {
        let offsets = self.0.values().map(|(_, offset)| offset.value());
        offsets.max_by_key(|offset| offset.abs()).unwrap_or_default()
    }
}

/// What the answers so far leave possible: Upstash's clock less ours lies between the two.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockOffset(Option<(SignedDuration, SignedDuration)>);

impl ClockOffset {
    /// Learns from an answer that was dated `date`, to a call that was sent and answered at these times of ours.
    pub fn observe(&mut self, date: Timestamp, sent: Timestamp, received: Timestamp) {
        let low = date.duration_since(received);
        let high = date.duration_since(sent).saturating_add(PRECISION);
        if low > high || low > FARTHEST || high < -FARTHEST {
            return;
        }
        self.0 = Some(match self.0 {
            Some((lower, upper)) if lower.max(low) <= upper.min(high) => (lower.max(low), upper.min(high)),
            // One of the clocks was set since: the newest answer is right.
            _ => (low, high),
        });
    }

    /// What to add to our time to get Upstash's; zero as long as both clocks may be the same.
    pub fn value(&self) -> SignedDuration {
        match self.0 {
            Some((low, high)) if low > TOLERANCE || high < -TOLERANCE => (low + high) / 2,
            _ => SignedDuration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn millis(millis: i64) -> SignedDuration {
        SignedDuration::from_millis(millis)
    }

    /// Learns from an answer of a server whose clock is ahead by `offset`, in milliseconds.
    fn answer(clock: &mut ClockOffset, offset: i64, at: i64, round_trip: i64) {
        let sent = start() + millis(at);
        let written = sent + millis(round_trip / 2) + millis(offset);
        let date = Timestamp::from_second(written.as_millisecond().div_euclid(1000)).unwrap();
        clock.observe(date, sent, sent + millis(round_trip));
    }

    #[test]
    fn clocks_that_agree_have_no_offset() {
        let mut clock = ClockOffset::default();
        assert_eq!(clock.value(), SignedDuration::ZERO);
        for at in [0, 400, 999, 5_500] {
            answer(&mut clock, 0, at, 30);
            assert_eq!(clock.value(), SignedDuration::ZERO);
        }
    }

    #[test]
    fn an_offset_is_learnt_from_one_answer_and_narrowed_by_more() {
        for offset in [-7_200_000, -90_000, -3_100, 3_100, 90_000, 7_200_000] {
            let mut clock = ClockOffset::default();
            answer(&mut clock, offset, 0, 40);
            assert!((clock.value() - millis(offset)).abs() <= millis(560), "{offset}: {:?}", clock.value());
            for at in 1..40 {
                answer(&mut clock, offset, at * 137, 40);
            }
            assert!((clock.value() - millis(offset)).abs() <= millis(60), "{offset}: {:?}", clock.value());
        }
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        let mut clock = ClockOffset::default();
        answer(&mut clock, 0, 0, 40);
        answer(&mut clock, 60_000, 1_000, 40);
        assert!((clock.value() - millis(60_000)).abs() <= millis(560));
        answer(&mut clock, 0, 2_000, 40);
        assert_eq!(clock.value(), SignedDuration::ZERO);
    }

    #[test]
    fn a_date_of_another_age_teaches_nothing() {
        let mut clock = ClockOffset::default();
        clock.observe(Timestamp::UNIX_EPOCH, start(), start());
        clock.observe(Timestamp::MAX, start(), start());
        clock.observe(Timestamp::MIN, start(), start());
        assert_eq!(clock, ClockOffset::default());
    }

    #[test]
    fn of_too_many_servers_the_silent_ones_are_forgotten() {
        let mut clocks = Clocks::default();
        let server =
            |number: usize| Origin::Tuple("https".into(), url::Host::Domain(number.to_string()), 443);
        let busy = server(0);
        for number in 1..10 * MOST_SERVERS {
            let now = start() + SignedDuration::from_secs(i64::try_from(number).unwrap());
            let date = now + SignedDuration::from_mins(5);
            clocks.observe(busy.clone(), date, now, now);
            clocks.observe(server(number), date, now, now);
            assert!(clocks.0.len() <= MOST_SERVERS);
            for heard in [&busy, &server(number), &server(number.saturating_sub(MOST_SERVERS - 2).max(1))] {
                assert!(clocks.offset(heard) > SignedDuration::from_mins(4), "{number}: {heard:?}");
            }
        }
        assert_eq!(clocks.offset(&server(1)), SignedDuration::ZERO);
    }

    proptest! {
        #[test]
        fn the_true_offset_is_never_ruled_out(
            offset in -80_000_000_i64..80_000_000,
            answers in prop::collection::vec((0_i64..100_000, 0_i64..5_000), 1..30),
        ) {
            let mut clock = ClockOffset::default();
            for (at, round_trip) in answers {
                answer(&mut clock, offset, at, round_trip);
                let (low, high) = clock.0.unwrap();
                prop_assert!(low <= millis(offset) && millis(offset) <= high);
            }
        }
    }
}

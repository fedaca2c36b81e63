use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;

const US: &str = "pod-a/1f";
const THEM: &str = "pod-b/2e";

fn timing() -> Timing {
    Timing::new(Duration::from_secs(15))
}

fn candidate() -> Election {
    Election::new("the-lease".to_owned(), US.to_owned(), timing())
}

/// So many seconds after some start.
fn at(seconds: f64) -> Moment {
    let start: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let since = Duration::from_secs_f64(seconds);
    Moment { monotonic: since, wall: start + SignedDuration::try_from(since).unwrap() }
}

fn lease(holder: Option<&str>, duration: Option<i32>, renewed: Moment) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some("the-lease".to_owned()),
            uid: Some("u1".to_owned()),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: duration,
            renew_time: Some(MicroTime(renewed.wall)),
            acquire_time: Some(MicroTime(at(0.0).wall)),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }),
    }
}

fn theirs(renewed: Moment) -> Lease {
    lease(Some(THEM), Some(15), renewed)
}

fn spec(lease: &Lease) -> &LeaseSpec {
    lease.spec.as_ref().unwrap()
}

/// What the candidate writes now.
#[track_caller]
fn write(election: &mut Election, now: Moment) -> Lease {
    match election.next(now) {
        Step::Create(lease) | Step::Replace(lease) => *lease,
        other => panic!("not a write: {other:?}"),
    }
}

/// Reads what is there, and tells what follows.
fn look(election: &mut Election, found: Option<Lease>, now: Moment) -> Step {
    assert_eq!(election.next(now), Step::Read);
    election.observed(found, now);
    election.next(now)
}

/// A candidate who holds the lease since second 0.
fn leader() -> (Election, Lease) {
    let mut election = candidate();
    election.observed(None, at(0.0));
    let mut stored = write(&mut election, at(0.0));
    stored.metadata.uid = Some("u1".to_owned());
    stored.metadata.resource_version = Some("7".to_owned());
    assert!(election.written(stored.clone(), at(0.1)));
    (election, stored)
}

#[test]
fn the_times_are_in_proportion_to_the_lease() {
    let timing = timing();
    assert_eq!(timing.renew_deadline(), Duration::from_secs(10));
    assert_eq!(timing.retry_period(), Duration::from_secs(2));
    assert!(timing.renew_deadline() < timing.call_deadline() && timing.call_deadline() < timing.lease());
    let left = Some(Duration::from_secs(8));
    assert_eq!(timing.request_timeout(left), Duration::from_secs(4), "another has time after it");
    assert_eq!(timing.request_timeout(Some(Duration::ZERO)), Duration::from_secs(1));
    assert_eq!(timing.request_timeout(None), timing.renew_deadline());
    assert_eq!(timing.look_period(), Duration::from_secs(1));
    assert_eq!(Timing::new(Duration::from_secs(3)).look_period(), Duration::from_millis(400));
}

#[test]
fn a_lease_that_is_not_there_is_created() {
    let Step::Create(created) = look(&mut candidate(), None, at(1.0)) else { panic!("not created") };
    assert_eq!(created.metadata.name.as_deref(), Some("the-lease"));
    assert_eq!(created.metadata.resource_version, None);
    let now = Some(MicroTime(at(1.0).wall));
    let expected = LeaseSpec {
        holder_identity: Some(US.to_owned()),
        lease_duration_seconds: Some(15),
        acquire_time: now.clone(),
        renew_time: now,
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    assert_eq!(*spec(&created), expected);
}

#[test]
fn a_free_lease_is_taken_at_once() {
    for free in [lease(Some(""), Some(1), at(0.0)), lease(None, None, at(0.0)), Lease::default()] {
        let Step::Replace(taken) = look(&mut candidate(), Some(free.clone()), at(1.0)) else {
            panic!("not taken: {free:?}")
        };
        assert_eq!(taken.metadata, free.metadata, "in the version that was read");
        assert_eq!(spec(&taken).holder_identity.as_deref(), Some(US));
        assert_eq!(spec(&taken).acquire_time, Some(MicroTime(at(1.0).wall)));
        let before = free.spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        assert_eq!(spec(&taken).lease_transitions, Some(before + 1));
    }
}

#[test]
fn ones_own_lease_is_renewed_without_a_read() {
    let (mut election, stored) = leader();
    let Step::Replace(renewed) = election.next(at(2.0)) else { panic!("not renewed") };
    assert_eq!(renewed.metadata, stored.metadata);
    let expected = LeaseSpec { renew_time: Some(MicroTime(at(2.0).wall)), ..spec(&stored).clone() };
    assert_eq!(*spec(&renewed), expected);
}

#[test]
fn a_renewal_whose_fate_is_unknown_is_read_first_and_then_repeated() {
    let (mut election, mut stored) = leader();
    write(&mut election, at(2.0));
    assert!(matches!(look(&mut election, Some(stored.clone()), at(5.0)), Step::Replace(_)), "it was lost");
    // The same when it was carried out.
    stored.metadata.resource_version = Some("8".to_owned());
    stored.spec.as_mut().unwrap().renew_time = Some(MicroTime(at(5.0).wall));
    let Step::Replace(renewed) = look(&mut election, Some(stored), at(8.0)) else { panic!("not renewed") };
    assert_eq!(renewed.metadata.resource_version.as_deref(), Some("8"));
    assert_eq!(spec(&renewed).acquire_time, Some(MicroTime(at(0.0).wall)), "as the lease was ours all along");
}

#[test]
fn an_acquisition_whose_answer_was_lost_is_recognized() {
    let mut election = candidate();
    election.observed(None, at(0.0));
    let mut stored = write(&mut election, at(0.0));
    stored.metadata.resource_version = Some("1".to_owned());
    let Step::Replace(renewed) = look(&mut election, Some(stored), at(3.0)) else { panic!("not renewed") };
    assert_eq!(spec(&renewed).lease_transitions, Some(0));
}

#[test]
fn anothers_lease_is_waited_for_as_long_as_it_changes() {
    let mut election = candidate();
    for second in 0..60 {
        let now = at(f64::from(second));
        assert_eq!(look(&mut election, Some(theirs(now)), now), Step::Wait);
    }
    assert!(!election.may_lead());
    assert_eq!(election.holder(), Some(THEM));
}

#[test]
fn anothers_lease_is_taken_once_it_was_seen_unchanged_for_its_duration() {
    // The other's clock may be wrong by any amount: only ours is asked.
    for their_clock in
        ["2026-11-20T12:00:00Z", "2026-11-20T02:00:00Z", "2026-11-20T22:00:00Z", "1971-01-01T00:00:00Z"]
    {
        let mut election = candidate();
        let wall = their_clock.parse().unwrap();
        let found = theirs(Moment { wall, ..at(0.0) });
        assert_eq!(look(&mut election, Some(found.clone()), at(100.0)), Step::Wait, "{their_clock}");
        assert_eq!(look(&mut election, Some(found.clone()), at(114.9)), Step::Wait);
        let Step::Replace(taken) = look(&mut election, Some(found), at(115.0)) else { panic!("not taken") };
        assert_eq!(spec(&taken).holder_identity.as_deref(), Some(US));
        assert_eq!(spec(&taken).lease_transitions, Some(4));
    }
}

#[test]
fn our_own_wall_clock_does_not_count_either() {
    let mut election = candidate();
    look(&mut election, Some(theirs(at(0.0))), at(0.0));
    let jumped = Moment { wall: at(7200.0).wall, ..at(1.0) };
    assert_eq!(look(&mut election, Some(theirs(at(0.0))), jumped), Step::Wait);
}

#[test]
fn how_long_another_is_waited_for() {
    let table = [
        (Some(15), 15.0),
        (Some(60), 60.0),
        // Less than ours, or nothing: ours.
        (Some(5), 15.0),
        (Some(1), 15.0),
        (Some(0), 15.0),
        (Some(-60), 15.0),
        (None, 15.0),
        (Some(i32::MAX), 3600.0),
    ];
    for (duration, seconds) in table {
        let mut election = candidate();
        let found = lease(Some(THEM), duration, at(0.0));
        look(&mut election, Some(found.clone()), at(0.0));
        assert_eq!(look(&mut election, Some(found.clone()), at(seconds - 0.1)), Step::Wait, "{duration:?}");
        assert!(matches!(look(&mut election, Some(found), at(seconds)), Step::Replace(_)), "{duration:?}");
    }
}

#[test]
fn a_holder_without_any_times_is_waited_for_too() {
    let mut found = lease(Some(THEM), None, at(0.0));
    found.spec = Some(LeaseSpec { holder_identity: Some(THEM.to_owned()), ..LeaseSpec::default() });
    let mut election = candidate();
    assert_eq!(look(&mut election, Some(found.clone()), at(0.0)), Step::Wait);
    let Step::Replace(taken) = look(&mut election, Some(found), at(15.0)) else { panic!("not taken") };
    assert_eq!(spec(&taken).lease_transitions, Some(1));
}

#[test]
fn who_annotates_the_lease_of_a_dead_holder_does_not_keep_it_alive() {
    let mut election = candidate();
    let mut found = theirs(at(0.0));
    for second in 0..15 {
        found.metadata.resource_version = Some(second.to_string());
        assert_eq!(look(&mut election, Some(found.clone()), at(f64::from(second))), Step::Wait);
    }
    assert!(matches!(look(&mut election, Some(found), at(15.0)), Step::Replace(_)));
}

#[test]
fn a_lease_that_was_made_anew_is_another() {
    let mut election = candidate();
    let mut found = theirs(at(0.0));
    look(&mut election, Some(found.clone()), at(0.0));
    found.metadata.uid = Some("u2".to_owned());
    assert_eq!(look(&mut election, Some(found), at(20.0)), Step::Wait);
}

#[test]
fn deleting_the_lease_of_a_holder_does_not_free_it_before_it_would_expire() {
    let mut election = candidate();
    look(&mut election, Some(theirs(at(0.0))), at(0.0));
    assert_eq!(look(&mut election, None, at(14.0)), Step::Wait);
    assert!(matches!(look(&mut election, None, at(15.0)), Step::Create(_)));
}

#[test]
fn a_holder_whose_lease_was_deleted_creates_it() {
    let (mut election, _) = leader();
    write(&mut election, at(2.0));
    assert!(matches!(look(&mut election, None, at(2.1)), Step::Create(_)));
    assert!(election.may_lead());
}

#[test]
fn a_conflict_is_decided_by_what_is_there_then() {
    let mut election = candidate();
    election.observed(Some(lease(Some(""), Some(1), at(0.0))), at(0.0));
    write(&mut election, at(0.0));
    assert_eq!(look(&mut election, Some(theirs(at(0.1))), at(0.2)), Step::Wait, "the other was faster");
}

#[test]
fn who_finds_the_lease_in_anothers_hands_does_not_lead() {
    let (mut election, _) = leader();
    write(&mut election, at(2.0));
    assert_eq!(look(&mut election, Some(theirs(at(1.9))), at(2.1)), Step::Wait);
    assert!(!election.may_lead());
}

#[test]
fn a_lease_that_names_us_without_our_doing_is_anothers() {
    let mut election = candidate();
    let edited = lease(Some(US), Some(15), at(0.0));
    assert_eq!(look(&mut election, Some(edited.clone()), at(0.0)), Step::Wait);
    assert!(!election.may_lead());
    let Step::Replace(taken) = look(&mut election, Some(edited), at(15.0)) else { panic!("not taken") };
    assert_eq!(spec(&taken).lease_transitions, Some(4));
}

#[test]
fn an_earlier_process_of_the_same_pod_is_another() {
    let mut election = candidate();
    let found = lease(Some("pod-a/9c"), Some(15), at(0.0));
    assert_eq!(look(&mut election, Some(found), at(0.0)), Step::Wait);
}

#[test]
fn what_is_not_about_holding_stays_as_it_is() {
    let mut found = lease(Some(""), Some(1), at(0.0));
    found.metadata.annotations = Some(BTreeMap::from([("team".to_owned(), "payments".to_owned())]));
    found.metadata.labels = Some(BTreeMap::from([("app".to_owned(), "x".to_owned())]));
    let edited = found.spec.as_mut().unwrap();
    edited.strategy = Some("OldestEmulationVersion".to_owned());
    edited.preferred_holder = Some("pod-c".to_owned());
    let Step::Replace(taken) = look(&mut candidate(), Some(found.clone()), at(1.0)) else { panic!() };
    assert_eq!(taken.metadata, found.metadata);
    assert_eq!(spec(&taken).strategy, spec(&found).strategy);
    assert_eq!(spec(&taken).preferred_holder, spec(&found).preferred_holder);
}

#[test]
fn odd_counts_of_transitions_break_nothing() {
    for (before, after) in [(Some(i32::MAX), i32::MAX), (Some(-5), 1), (None, 1)] {
        let mut found = lease(Some(""), Some(1), at(0.0));
        found.spec.as_mut().unwrap().lease_transitions = before;
        let Step::Replace(taken) = look(&mut candidate(), Some(found), at(1.0)) else { panic!() };
        assert_eq!(spec(&taken).lease_transitions, Some(after));
    }
}

#[test]
fn a_lease_is_given_back_so_that_it_is_free_at_once() {
    let (mut election, stored) = leader();
    let Step::Replace(released) = election.next_to_release(at(3.0)) else { panic!("not released") };
    assert_eq!(released.metadata, stored.metadata);
    let expected = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(at(3.0).wall)),
        ..spec(&stored).clone()
    };
    assert_eq!(*spec(&released), expected);
    assert!(matches!(look(&mut candidate(), Some(*released), at(3.1)), Step::Replace(_)));
}

#[test]
fn only_ones_own_lease_is_given_back() {
    for found in [None, Some(theirs(at(0.0))), Some(lease(Some(""), Some(1), at(0.0)))] {
        let (mut election, _) = leader();
        write(&mut election, at(2.0));
        assert_eq!(election.next_to_release(at(2.1)), Step::Read, "a renewal was under way");
        election.observed(found, at(2.2));
        assert_eq!(election.next_to_release(at(2.3)), Step::Wait);
    }
    let mut newcomer = candidate();
    assert_eq!(newcomer.next_to_release(at(0.0)), Step::Wait);
    newcomer.observed(Some(lease(Some(US), Some(15), at(0.0))), at(0.0));
    assert_eq!(newcomer.next_to_release(at(0.1)), Step::Wait);
}

#[test]
fn a_write_that_was_changed_on_its_way_is_no_lease() {
    let mut election = candidate();
    election.observed(None, at(0.0));
    write(&mut election, at(0.0));
    assert!(!election.written(theirs(at(0.0)), at(0.1)));
    assert!(!election.may_lead());
}

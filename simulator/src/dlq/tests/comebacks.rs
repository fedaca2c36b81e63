//! What the entry is like that a workflow run comes back as when it fails again.

use super::*;
use crate::service::LabelsCarried;

/// A DLQ whose workflow runs fail again a millisecond after they start, always.
fn refailing(entry: NewEntry) -> Dlq {
    let mut dlq = dlq_of([entry]);
    dlq.set_refail(Some(Refail { delay_ms: 1, times: None }));
    dlq
}

/// Acts on all there is, and gives the entry that comes back.
fn comeback(dlq: &mut Dlq, action: Action, overrides: &Overrides, now: Millis) -> Entry {
    dlq.act(action, &selection(""), overrides, 1, now).expect("well-formed");
    dlq.settle(now + 1);
    let mut entries = dlq.entries();
    let back = entries.next().expect("it came back").clone();
    assert_eq!(entries.count(), 0, "it alone");
    back
}

fn overrides(pairs: &[(&'static str, &'static str)]) -> Overrides {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    Overrides::read(&pairs.collect()).expect("plausible")
}

#[test]
fn the_labels_of_an_override_come_back_where_the_service_carries_them() {
    let relabelled = overrides(&[("upstash-label", "new, newer"), ("upstash-retries", "7")]);
    for (labels_carried, action, expected) in [
        (LabelsCarried::Always, Action::Resume, "new,newer"),
        (LabelsCarried::Always, Action::Restart, "new,newer"),
        (LabelsCarried::Never, Action::Resume, "old"),
        (LabelsCarried::Never, Action::Restart, "old"),
        (LabelsCarried::OnRestart, Action::Resume, "old"),
        (LabelsCarried::OnRestart, Action::Restart, "new,newer"),
    ] {
        let mut dlq = refailing(labelled("e", &["old"]));
        dlq.set_service(Service { labels_carried, ..Service::default() });
        let back = comeback(&mut dlq, action, &relabelled, NOW);
        assert_eq!(back.settings.label().as_deref(), Some(expected), "{labels_carried:?} {action:?}");
        assert_eq!(back.settings.retries, 7, "other overrides come back in any case");
        assert_eq!(matching(&dlq, "label=old").is_empty(), expected != "old");
        assert_eq!(matching(&dlq, "label=newer").is_empty(), expected == "old");
        let run = &dlq.ledger.workflow_runs()[0];
        assert_eq!(
            run.settings.label().as_deref(),
            Some("new,newer"),
            "the workflow run has what was asked for"
        );
    }
}

#[test]
fn the_response_comes_back_and_is_not_copied() {
    let headers = [("Content-Type".to_owned(), vec!["text/plain".to_owned()])];
    let entry = NewEntry {
        response_status: Some(503),
        response_headers: Some(Arc::new(headers.into())),
        response_body: Some("out of room".into()),
        ..named("e")
    };
    let mut dlq = refailing(entry);
    let seeded = Arc::clone(&dlq.get("e").expect("it was seeded").response);
    assert_eq!((seeded.status, &*seeded.body, seeded.headers.len()), (503, "out of room", 1));
    for (action, now) in [(Action::Resume, NOW), (Action::Restart, NOW + 10)] {
        let back = comeback(&mut dlq, action, &Overrides::default(), now);
        assert!(Arc::ptr_eq(&back.response, &seeded), "{action:?}: {:?}", back.response);
    }
}

#[test]
fn without_times_a_workflow_run_comes_back_for_ever_after_either_action() {
    let mut dlq = refailing(NewEntry { expires_at: Some(NOW + 50), ..labelled("e", &["a"]) });
    let before = dlq.get("e").expect("it was seeded").clone();
    let (mut dlq_ids, mut run_ids) =
        (HashSet::from([before.dlq_id]), HashSet::from([before.workflow_run_id]));
    for round in 0..300 {
        let action = if round % 3 == 0 { Action::Restart } else { Action::Resume };
        let now = NOW + 10 * (round + 1);
        let back = comeback(&mut dlq, action, &Overrides::default(), now);
        assert_eq!((back.workflow_created_at, back.failed_at), (now, now + 1), "{round}");
        assert_eq!(back.settings.label().as_deref(), Some("a"), "{round}");
        let run = dlq.ledger.workflow_runs().last().expect("it was started");
        assert_eq!((run.action, run.workflow_created_at), (action, now), "{round}");
        assert_eq!(run.workflow_run_id, back.workflow_run_id, "{round}");
        assert!(dlq_ids.insert(back.dlq_id) && run_ids.insert(back.workflow_run_id), "{round}: new IDs");
    }
    let arrivals = dlq.ledger.arrivals();
    assert_eq!((arrivals.seeded, arrivals.refailed), (1, 300));
}

use std::iter::successors;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::runtime::metrics::exposition::Format;
use dlq_upstash::client::ClientOptions;

/// A match without a rest, so that nothing new is left out.
fn results() -> impl Iterator<Item = RunResult> {
    use RunResult::{Cancelled, DeadlineExceeded, Failed, LimitReached, Succeeded};
    successors(Some(Succeeded), |result| match result {
        Succeeded => Some(Failed),
        Failed => Some(Cancelled),
        Cancelled => Some(LimitReached),
        LimitReached => Some(DeadlineExceeded),
        DeadlineExceeded => None,
    })
}

fn operations() -> impl Iterator<Item = Operation> {
    use Operation::{BulkDelete, BulkRestart, BulkResume, Delete, Get, List, Restart, Resume};
    successors(Some(BulkResume), |operation| match operation {
        BulkResume => Some(BulkRestart),
        BulkRestart => Some(BulkDelete),
        BulkDelete => Some(Resume),
        Resume => Some(Restart),
        Restart => Some(Delete),
        Delete => Some(List),
        List => Some(Get),
        Get => None,
    })
}

#[test]
fn what_is_not_of_policies_has_no_more_series_than_is_documented() {
    let now = || Timestamp::UNIX_EPOCH;
    let metrics = Metrics::new(true, now);
    let (build, leadership) = (Build { version: "1", revision: "2" }, Leadership::always());
    let transport = Transport::new(ClientOptions::new(Duration::from_secs(1))).unwrap();
    let exposition = metrics.exposition(build, leadership, transport);
    let series = || {
        let text = exposition.render(Format::Text).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let policy = PolicyRef::new("a").within("payments");
    for (action, result) in
        ACTIONS.into_iter().flat_map(|action| results().map(move |result| (action, result)))
    {
        let run = json!({
            "id": "1-spec", "trigger": "Spec", "action": action, "result": result,
            "startTime": "2026-11-20T12:00:00.000Z", "completionTime": "2026-11-20T12:00:01.000Z",
        });
        metrics.ended(&policy, &serde_json::from_value(run).unwrap());
    }
    let call =
        |code| operations().for_each(|operation| metrics.called(operation, code, Duration::from_secs(1)));
    call(Some(200));
    assert_eq!(series(), SERIES_OF_PROCESS + SERIES_PER_CODE);
    call(Some(503));
    call(None);
    assert_eq!(series(), SERIES_OF_PROCESS + 3 * SERIES_PER_CODE);
}

//! What the API server can do to a run: restarts, freezes, refusals, lost answers, and its absence.

#![expect(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

mod away;
mod edits;
mod late;
mod priority;
mod processes;
mod requests;
mod restarts;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{ApiServerProxy, Fate, Ledger, Simulator, User};

use crate::at_most_once::Runs;
use crate::cluster::control_plane;
use crate::scene::Scene;

/// A scene whose operator reaches the API server through a proxy. The test's own kubectl does not.
pub(crate) async fn behind_a_proxy(name: &str, args: &[&str]) -> (Scene, ApiServerProxy) {
    let control_plane = control_plane().await;
    let proxy = ApiServerProxy::start(control_plane, User::Admin).await.unwrap();
    let kubeconfig = proxy.kubeconfig();
    let simulator = Simulator::start().await.unwrap();
    let scene =
        Scene::start_on(control_plane, name, simulator, args, |options| options.kubeconfig = kubeconfig)
            .await;
    (scene, proxy)
}

/// What a drain by an API server in good order would have led to: each page asked for once, each entry acted on once,
/// and counts that know it.
fn assert_as_if_nothing_had_happened(run: &Value, ledger: &Ledger, entries: usize, pages: usize) {
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), entries, "{run:#}");
    let acted: Vec<_> = ledger.calls.iter().flat_map(|call| &call.dlq_ids).collect();
    let distinct: BTreeSet<_> = acted.iter().collect();
    assert_eq!((acted.len(), distinct.len()), (entries, entries), "each entry once");
    assert_eq!(ledger.calls.len(), pages, "each page once: {run:#}");
    let counts = ["processed", "pages", "interruptions", "uncertainPages", "retries"].map(|key| &run[key]);
    let expected = [entries, pages, 0, 0, 0].map(|count| json!(count));
    assert_eq!(counts, expected.each_ref(), "{run:#}");
    assert_eq!(run["result"], "Succeeded");
    Runs::of_one(run).check_all(ledger);
}

//! The search for tokens at the end of every test looks at every operator, and says when it cannot.

use std::panic::{AssertUnwindSafe, catch_unwind};

use testbed::Signal;

use crate::replicas::Replicas;
use crate::scene::Scene;

/// What only a standby's metrics say.
const ONLY_A_STANDBY: &str = "dlq_operator_leader 0";

/// What a test fails with that ends by dropping this.
fn end_of_test(scene: impl Sized) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| drop(scene))).expect_err("the test passes");
    *failed.downcast::<String>().unwrap()
}

#[tokio::test]
async fn a_test_fails_where_the_metrics_of_its_operator_cannot_be_read() {
    let mut scene = Scene::start("unread").await;
    scene.operator.process_mut().signal(Signal::KILL).unwrap();
    let failed = end_of_test(scene);
    assert!(failed.contains("read the metrics of dlq-operator-0"), "{failed}");
}

#[tokio::test]
async fn the_metrics_of_every_replica_are_searched() {
    let replicas = Replicas::start("searched", &[]).await;
    replicas.scene.simulator.tokens().remember(ONLY_A_STANDBY);
    let failed = end_of_test(replicas);
    assert!(failed.contains("dlq-operator-1: in its metrics the token"), "{failed}");
}

#[tokio::test]
async fn an_operator_that_a_test_stops_is_searched_before() {
    let mut replicas = Replicas::start("stopped", &[]).await;
    replicas.scene.simulator.tokens().remember(ONLY_A_STANDBY);
    let killed = replicas.second.kill().unwrap_err().to_string();
    assert!(killed.contains("dlq-operator-1: in its metrics the token"), "{killed}");
    // It is said once, and the other replica leads.
    drop(replicas);
}

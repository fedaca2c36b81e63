//! The admin server: whether the process lives and is ready.

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;
use testbed::{Entry, Process, Program, ScratchDir, Signal, binary, eventually};

use super::scrape::{Scrape, TEXT, get};
use super::{resume, url};
use crate::scene::{DLQ, PATIENCE, Scene};

#[tokio::test]
async fn the_admin_server_is_up_before_the_cluster_is_and_says_what_is_missing() {
    let dir = ScratchDir::create("unreachable").unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{ "name": "none", "cluster": { "server": "http://127.0.0.1:9" } }],
        "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "none" } }],
        "users": [{ "name": "none", "user": {} }],
    });
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = start_unreachable(dir.path(), &path, port).await;
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    eventually(PATIENCE, "it listens", async || reqwest::get(at("/livez")).await.map(drop)).await.unwrap();
    let live = get(&at("/livez"), TEXT).await;
    assert_eq!((live.status, live.text.as_str()), (200, "ok"), "{}", process.log());
    assert_eq!(get(&at("/livez?verbose"), TEXT).await.text, "[+]ping ok\nlivez check passed\n");
    let ready = get(&at("/readyz"), TEXT).await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text.starts_with("[-]cache failed: ") && ready.text.ends_with("readyz check failed\n"),
        "{}",
        ready.text
    );
    assert_eq!(Scrape::of(&at("")).await.count("leader", &[]), Some(0));
}

async fn start_unreachable(dir: &Path, kubeconfig: &Path, port: u16) -> Process {
    let env = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("POD_NAMESPACE", "none")];
    Process::start(Program {
        name: "dlq-operator",
        binary: &binary("dlq-operator").await.unwrap(),
        args: vec!["--leader-elect".to_owned(), format!("--admin-address=127.0.0.1:{port}")],
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        dir,
    })
    .unwrap()
}

#[tokio::test]
async fn a_ready_operator_says_so_in_short_or_at_length() {
    let scene = Scene::start("ready").await;
    assert_eq!(get(&url(&scene.operator, "/readyz"), TEXT).await.text, "ok");
    let verbose = get(&url(&scene.operator, "/readyz?verbose"), TEXT).await;
    assert_eq!((verbose.status, verbose.text.as_str()), (200, "[+]cache ok\nreadyz check passed\n"));
}

#[tokio::test]
async fn an_operator_that_stops_is_not_ready_and_still_answers() {
    let mut scene = Scene::start("stopping").await;
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    // Longer than the grace of a call at a stop, in which there is time to ask.
    scene.slow_down(5_000).await;
    scene.apply("slow", resume()).await;
    // The ledger has a call once it is over; a run that is claimed makes its first at once.
    scene.status("slow", "a call is under way", |status| status["currentRun"].is_object()).await;
    scene.operator.search_before_stop().unwrap();
    scene.operator.process().signal(Signal::TERM).unwrap();
    let readyz = url(&scene.operator, "/readyz");
    eventually(PATIENCE, "it says that it stops", async || {
        let answer = reqwest::get(&readyz).await.map_err(|error| error.to_string())?;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
        let is_told = status == 503 && text.contains("[+]cache ok\n[-]shutdown failed: the process stops\n");
        if is_told { Ok(()) } else { Err(format!("{status} {text}")) }
    })
    .await
    .unwrap();
}

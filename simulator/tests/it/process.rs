//! The binary itself.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{answer, client};

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended, which is what the test wants.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[tokio::test]
async fn it_announces_its_ports_serves_the_example_seed_and_ends_on_sigterm() {
    let process = Command::new(env!("CARGO_BIN_EXE_dlq-simulator"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--token",
            "u:b",
            "--order",
            "newestFirst",
            "--seed-file",
            concat!(env!("CARGO_MANIFEST_DIR"), "/seed.example.json"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the simulator starts");
    let mut process = Killed(process);
    let mut line = String::new();
    let stdout = process.0.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let addresses: Value = serde_json::from_str(&line).expect("a line of JSON");

    let list = format!("{}/v2/workflows/dlq", addresses["api"].as_str().expect("a URL"));
    let client = client();
    let labelled = format!("{list}?label=payments");
    let call = client.get(&labelled).bearer_auth("local-auditor");
    let (_, body) = answer(call.send().await.expect("an answer")).await;
    let ids = body["messages"].as_array().expect("messages").iter().map(|message| &message["dlqId"]);
    assert_eq!(ids.collect::<Vec<_>>(), ["hooked", "stuck"], "seeded in the other order");
    let (status, body) = answer(client.get(&list).bearer_auth("u").send().await.expect("an answer")).await;
    assert_eq!((status, body), (200, json!({ "messages": [] })));

    let asked = Instant::now();
    let kill = Command::new("kill").arg(process.0.id().to_string()).status().expect("kill exists");
    assert!(kill.success());
    assert!(process.0.wait().expect("it ends").success());
    assert!(asked.elapsed() < Duration::from_secs(2), "idle connections do not hold it up");
}

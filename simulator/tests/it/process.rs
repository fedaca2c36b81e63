//! The binary itself.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{answer, client};

#[tokio::test]
async fn it_announces_its_ports_serves_its_seed_and_ends_on_sigterm() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let seed_file = format!("{folder}/seed-{}.json", std::process::id());
    let seed = json!({
        "tokens": { "t": { "dlq": "a", "readOnly": true } },
        "entries": { "a": { "generate": { "count": 3 } } },
    });
    fs::write(&seed_file, seed.to_string()).expect("a writable folder");
    let mut process = Command::new(env!("CARGO_BIN_EXE_dlq-simulator"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--token",
            "u:b",
            "--seed-file",
            &seed_file,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the simulator starts");
    let mut line = String::new();
    let stdout = process.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let addresses: Value = serde_json::from_str(&line).expect("a line of JSON");

    let list = format!("{}/v2/workflows/dlq", addresses["api"].as_str().expect("a URL"));
    let client = client();
    let (_, body) = answer(client.get(&list).bearer_auth("t").send().await.expect("an answer")).await;
    assert_eq!(body["messages"].as_array().map(Vec::len), Some(3));
    let (status, body) = answer(client.get(&list).bearer_auth("u").send().await.expect("an answer")).await;
    assert_eq!((status, body), (200, json!({ "messages": [] })));

    let asked = Instant::now();
    let kill = Command::new("kill").arg(process.id().to_string()).status().expect("kill exists");
    assert!(kill.success());
    assert!(process.wait().expect("it ends").success());
    assert!(asked.elapsed() < Duration::from_secs(2), "idle connections do not hold it up");
    fs::remove_file(seed_file).expect("the file is there");
}

//! Where a token may go: a policy file from a pull request must not choose that.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;
use testbed::{Entry, Simulator};

use super::program::{DLQ, Plugin, TOKEN};

/// A server that nobody may connect to.
struct Trap(TcpListener);

impl Trap {
    fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    fn is_untouched(&self) -> bool {
        matches!(self.0.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

fn commands() -> [Vec<&'static str>; 4] {
    [
        vec!["preview", "-f", "policy.yaml"],
        vec!["explain", "-f", "policy.yaml"],
        vec!["drain", "-f", "policy.yaml", "--yes"],
        vec!["drain", "-f", "policy.yaml", "--dry-run"],
    ]
}

#[tokio::test]
async fn no_command_sends_the_token_to_an_address_that_only_a_file_names() {
    let trap = Trap::set();
    let plugin = Plugin::bare().await.with("QSTASH_TOKEN", TOKEN);
    let connection = json!({ "url": trap.url(), "tokenSecretRef": { "name": "upstash" } });
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true }, "connection": connection }));
    for command in commands() {
        let ended = plugin.run(&command).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{command:?}: {ended:?}");
        assert!(ended.stderr.contains(&format!("--allowed-url {}", trap.url())), "{command:?}: {ended:?}");
        assert!(trap.is_untouched(), "{command:?}");
    }
}

#[tokio::test]
async fn every_command_uses_an_address_that_the_person_allows() {
    let simulator = Simulator::start().await.unwrap();
    simulator.allow(TOKEN, DLQ).await.unwrap();
    simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let plugin = Plugin::bare().await.with("QSTASH_TOKEN", TOKEN);
    let connection = json!({ "url": simulator.api_url(), "tokenSecretRef": { "name": "upstash" } });
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true }, "connection": connection }));
    for mut command in commands() {
        command.extend(["--allowed-url", simulator.api_url()]);
        let ended = plugin.run(&command).await;
        assert_eq!(ended.code, 0, "{command:?}: {ended:?}");
    }
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls.iter().all(|call| call.authorization && !call.token_in_query));
}

#[tokio::test]
async fn a_token_comes_from_a_file_or_the_environment_and_from_no_flag() {
    let simulator = Simulator::start().await.unwrap();
    simulator.allow(TOKEN, DLQ).await.unwrap();
    let plugin = Plugin::bare().await.with("QSTASH_URL", simulator.api_url());
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true } }));
    for command in [&["preview", "-f", "policy.yaml"][..], &["drain", "-f", "policy.yaml", "--yes"]] {
        let ended = plugin.run(command).await;
        assert_eq!(ended.code, 1, "{command:?}: {ended:?}");
        assert!(ended.stderr.contains("QSTASH_TOKEN") && ended.stderr.contains("--token-file"), "{ended:?}");
    }
    std::fs::write(plugin.path("token"), format!("{TOKEN}\n")).unwrap();
    let ended = plugin.run(&["preview", "-f", "policy.yaml", "--token-file", "token"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let ended = plugin.run(&["preview", "-f", "policy.yaml", "--token", "other"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let plugin = plugin.with("QSTASH_TOKEN", "two words");
    let ended = plugin.run(&["preview", "-f", "policy.yaml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("QSTASH_TOKEN") && !ended.stderr.contains("two words"), "{ended:?}");
}

#[tokio::test]
async fn a_wrong_token_is_told_with_where_it_comes_from() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await.with("QSTASH_TOKEN", "nobody-knows-this-one");
    plugin.policy(&json!({ "action": "resume", "filters": { "all": true } }));
    for (command, code) in
        [(&["preview", "-f", "policy.yaml"][..], 1), (&["drain", "-f", "policy.yaml", "--yes"], 3)]
    {
        let ended = plugin.run(command).await;
        assert_eq!(ended.code, code, "{command:?}: {ended:?}");
        let told = ended.stdout + &ended.stderr;
        assert!(told.contains("check QSTASH_TOKEN or --token-file"), "{told}");
        assert!(!told.contains("nobody-knows-this-one"), "{told}");
    }
}

#[tokio::test]
async fn a_read_only_token_is_enough_to_look_and_not_to_act() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await.with("QSTASH_TOKEN", "plugin-read-only-token");
    simulator.allow_read_only("plugin-read-only-token", DLQ).await.unwrap();
    simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    plugin.policy(&json!({ "action": "resume", "filters": { "all": true } }));
    for command in [&["preview", "-f", "policy.yaml"][..], &["drain", "-f", "policy.yaml", "--dry-run"]] {
        let ended = plugin.run(command).await;
        assert_eq!(ended.code, 0, "{command:?}: {ended:?}");
        assert!(ended.stdout.contains("120 entries"), "{ended:?}");
    }
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert!(!ledger.calls.is_empty() && ledger.calls.iter().all(|call| call.method == "GET"));
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("read-only"), "{ended:?}");
}

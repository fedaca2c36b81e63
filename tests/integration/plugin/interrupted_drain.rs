//! Drains that are killed, cancelled, or left, and how they continue.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::Signal;
use testbed::{Entry, Fate, Simulator, eventually, send_signal};
use tokio::process::Child;

use super::program::{DLQ, Plugin, TOKEN, acting, ended};

const PATIENCE: Duration = Duration::from_secs(60);
const DRAIN: [&str; 4] = ["drain", "-f", "policy.yaml", "--yes"];
const RESUME: [&str; 5] = ["drain", "-f", "policy.yaml", "--yes", "--resume"];

fn resume(page_size: u32) -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": page_size } })
}

async fn slow_down(simulator: &Simulator, millis: u64) {
    let rules = json!([{ "dlq": DLQ, "fault": { "latency": { "ms": millis } } }]);
    simulator.set_faults(&rules).await.unwrap();
}

/// Waits until so many pages were acted on.
async fn acted(simulator: &Simulator, calls: usize) {
    eventually(PATIENCE, "pages are acted on", async || {
        let made = acting(&simulator.ledger(DLQ).await.unwrap()).len();
        if made >= calls { Ok(()) } else { Err(format!("{made} calls")) }
    })
    .await
    .unwrap();
}

fn signal(child: &Child, signal: Signal) {
    send_signal(i32::try_from(child.id().unwrap()).unwrap(), signal).unwrap();
}

/// A drain of 300 entries that has acted on some of them.
async fn under_way(simulator: &Simulator, plugin: &Plugin) -> Child {
    simulator.generate(DLQ, 300, &Entry::default()).await.unwrap();
    slow_down(simulator, 150).await;
    plugin.policy(&resume(10));
    let child = plugin.start(&DRAIN);
    acted(simulator, 3).await;
    child
}

#[tokio::test]
async fn a_drain_that_is_killed_continues_and_counts_all_but_the_page_under_way() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    let mut child = under_way(&simulator, &plugin).await;
    child.kill().await.unwrap();
    let state = plugin.state();
    assert!(!state.to_string().contains(TOKEN), "a token is never written");
    let run = &state["status"]["currentRun"];
    assert!(run["processed"].as_i64() >= Some(10), "{run:#}");

    let other = plugin.run(&DRAIN).await;
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("has not ended") && other.stderr.contains("--resume"), "{other:?}");

    simulator.clear_faults().await.unwrap();
    let resumed = plugin.run(&RESUME).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let ended = plugin.state()["status"]["lastRun"].take();
    assert_eq!((&ended["id"], &ended["window"]), (&run["id"], &run["window"]), "it is the same run");
    assert_eq!(ended["interruptions"], 1, "{ended:#}");
    assert!(
        ended["processed"].as_i64() >= Some(290) && ended["processed"].as_i64() <= Some(300),
        "{ended:#}"
    );
    assert!(resumed.stdout.contains("lower bound"), "{resumed:?}");
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).filter(|entry| entry.actions == 1).count(), 300);

    let again = plugin.run(&RESUME).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("has ended"), "{again:?}");
}

#[tokio::test]
async fn what_fails_again_during_a_drain_is_left_for_the_next_one_also_after_a_kill() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.refail(DLQ, &json!({ "delayMs": 1 })).await.unwrap();
    let mut child = under_way(&simulator, &plugin).await;
    child.kill().await.unwrap();
    simulator.clear_faults().await.unwrap();
    assert_eq!(plugin.run(&RESUME).await.code, 0);
    let ledger = simulator.ledger(DLQ).await.unwrap();
    let (first, comebacks): (Vec<_>, Vec<_>) = ledger.entries.iter().partition(|entry| {
        ledger.entries.iter().all(|other| other.refailed_as.as_ref() != Some(&entry.dlq_id))
    });
    assert_eq!((first.len(), first.iter().filter(|entry| entry.actions == 1).count()), (300, 300));
    assert!(comebacks.iter().all(|entry| entry.fate == Fate::InDlq), "none was acted on again");
}

#[tokio::test]
async fn all_cursors_of_a_drain_continue_after_a_kill() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate_spread(DLQ, 900, 3_600_000).await.unwrap();
    slow_down(&simulator, 100).await;
    let limits = json!({ "pageSize": 10, "parallelism": 4 });
    plugin.policy(&json!({ "action": "resume", "filters": { "all": true }, "limits": limits }));
    let mut child = plugin.start(&DRAIN);
    acted(&simulator, 12).await;
    child.kill().await.unwrap();
    simulator.clear_faults().await.unwrap();
    let resumed = plugin.run(&RESUME).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let run = plugin.state()["status"]["lastRun"].take();
    assert!((860..=900).contains(&run["processed"].as_i64().unwrap()), "{run:#}");
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).filter(|entry| entry.actions == 1).count(), 900);
}

#[tokio::test]
async fn two_drains_cannot_share_a_state_file() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    let mut child = under_way(&simulator, &plugin).await;
    for args in [&DRAIN[..], &RESUME[..]] {
        let other = plugin.run(args).await;
        assert_eq!(other.code, 1, "{other:?}");
        assert!(other.stderr.contains("in use"), "{other:?}");
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_run_continues_with_the_spec_that_it_began_with_alone() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    under_way(&simulator, &plugin).await.kill().await.unwrap();
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true } }));
    let other = plugin.run(&RESUME).await;
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("another spec"), "{other:?}");
    plugin.policy(&resume(50));
    let resumed = plugin.run(&RESUME).await;
    assert_eq!(resumed.code, 0, "limits are frozen in the run: {resumed:?}");
}

#[tokio::test]
async fn ctrl_c_ends_a_run_once_its_calls_are_answered() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    let child = under_way(&simulator, &plugin).await;
    signal(&child, Signal::INT);
    let ended = ended(child).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("cancelling") && ended.stderr.contains("cancelled after"), "{ended:?}");
    let run = plugin.state()["status"]["lastRun"].take();
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert_eq!(run["result"], "Cancelled", "{run:#}");
    assert_eq!(run["processed"].as_u64(), Some(ledger.with_fate(Fate::Resumed).count() as u64), "{run:#}");
    assert_eq!(run["uncertainPages"], 0, "{run:#}");
}

#[tokio::test]
async fn a_drain_waits_as_long_as_upstash_asks_and_ctrl_c_ends_the_wait() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    plugin.policy(&resume(10));
    let limited = |seconds: &str, from: u32, times: u32| {
        let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": seconds } } });
        json!([{ "dlq": DLQ, "from": from, "times": times, "fault": limit }])
    };
    simulator.set_faults(&limited("600", 2, 100)).await.unwrap();
    let child = plugin.start(&DRAIN);
    eventually(PATIENCE, "the run waits", async || {
        let state = std::fs::read_to_string(plugin.path("one.drain.json")).unwrap_or_default();
        if state.contains("Throttled") { Ok(()) } else { Err(state) }
    })
    .await
    .unwrap();
    signal(&child, Signal::INT);
    let cancelled = ended(child).await;
    assert_eq!(cancelled.code, 3, "{cancelled:?}");
    assert!(cancelled.stderr.contains("cancelled after 10 entries"), "{cancelled:?}");

    simulator.set_faults(&limited("1", 1, 1)).await.unwrap();
    let waited = plugin.run(&DRAIN).await;
    assert_eq!(waited.code, 0, "{waited:?}");
    assert!(waited.stderr.contains("429") && waited.stdout.contains("resumed 20 entries"), "{waited:?}");
}

#[tokio::test]
async fn a_second_ctrl_c_leaves_and_the_run_can_be_continued() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 300, &Entry::default()).await.unwrap();
    plugin.policy(&resume(10));
    // One call is answered at once, and the next not before somebody loses patience.
    let rules = json!([{ "dlq": DLQ, "from": 2, "fault": { "latency": { "ms": 2000 } } }]);
    simulator.set_faults(&rules).await.unwrap();
    let mut child = plugin.start(&DRAIN);
    acted(&simulator, 1).await;
    signal(&child, Signal::INT);
    let mut told = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !told.contains("again to leave") {
        let mut bytes = [0; 512];
        let read = tokio::io::AsyncReadExt::read(&mut stderr, &mut bytes).await.unwrap();
        assert!(read > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    signal(&child, Signal::INT);
    let left = ended(child).await;
    assert_eq!(left.code, 1, "{left:?}");
    simulator.clear_faults().await.unwrap();
    let resumed = plugin.run(&RESUME).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count(), 300);
}

/// A drain whose standard streams are a terminal, and the other end of that.
fn at_a_terminal(plugin: &Plugin, args: &[&str]) -> (Child, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let far = || Stdio::from(OwnedFd::from(far.try_clone().unwrap()));
    let mut command = plugin.command(args);
    command.stdin(far()).stdout(far()).stderr(far()).env("TERM", "xterm");
    (command.spawn().unwrap(), File::from(near))
}

/// Reads until the text comes, or the end.
async fn read_until(terminal: &File, text: &'static str) -> (String, File) {
    let mut terminal = terminal.try_clone().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut shown, mut bytes) = (String::new(), [0; 1024]);
        while !shown.contains(text) {
            match terminal.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(read) => shown.push_str(&String::from_utf8_lossy(&bytes[..read])),
            }
        }
        (shown, terminal)
    });
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_person_is_asked_with_the_number_of_entries_and_nothing_is_done_before_a_yes() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    plugin.policy(&resume(50));
    let question = format!("resume 120 entries at {}: every entry of the DLQ? [y/N]", simulator.api_url());
    for (answer, code, acted_on) in [("n\n", 1, 0), ("y\n", 0, 120)] {
        let (child, terminal) = at_a_terminal(&plugin, &["drain", "-f", "policy.yaml"]);
        let (shown, mut terminal) = read_until(&terminal, "[y/N]").await;
        assert!(shown.contains(&question), "{shown}");
        assert!(acting(&simulator.ledger(DLQ).await.unwrap()).is_empty(), "nothing is done before");
        terminal.write_all(answer.as_bytes()).unwrap();
        let rest = read_until(&terminal, "no such text").await;
        assert_eq!(ended(child).await.code, code, "{answer:?}: {}", rest.0);
        assert_eq!(simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count(), acted_on);
    }
}

#[tokio::test]
async fn no_more_is_acted_on_than_was_asked_about() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    plugin.policy(&resume(50));
    let (child, terminal) = at_a_terminal(&plugin, &["drain", "-f", "policy.yaml"]);
    let (_, mut terminal) = read_until(&terminal, "[y/N]").await;
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    terminal.write_all(b"yes\n").unwrap();
    read_until(&terminal, "no such text").await;
    assert_eq!(ended(child).await.code, 0);
    assert_eq!(simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count(), 30);
}

#[tokio::test]
async fn a_question_that_nobody_answered_is_asked_again_of_the_same_run() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    plugin.policy(&resume(50));
    let (mut child, terminal) = at_a_terminal(&plugin, &["drain", "-f", "policy.yaml"]);
    read_until(&terminal, "resume 30 entries").await;
    child.kill().await.unwrap();
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    let (child, terminal) = at_a_terminal(&plugin, &["drain", "-f", "policy.yaml", "--resume"]);
    let (shown, mut terminal) = read_until(&terminal, "[y/N]").await;
    assert!(shown.contains("resume 30 entries"), "{shown}");
    terminal.write_all(b"y\n").unwrap();
    let (shown, _) = read_until(&terminal, "no such text").await;
    assert_eq!(ended(child).await.code, 0, "{shown}");
    let run = plugin.state()["status"]["lastRun"].take();
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(30), &json!(0)), "{run:#}");
}

#[tokio::test]
async fn a_drain_that_cannot_write_down_what_it_does_stops_and_says_how_to_continue() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 300, &Entry::default()).await.unwrap();
    slow_down(&simulator, 150).await;
    plugin.policy(&resume(10));
    let folder = plugin.path("states");
    std::fs::create_dir(&folder).unwrap();
    let child = plugin.start(&[&DRAIN[..], &["--state-file", "states/one.json"]].concat());
    acted(&simulator, 3).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let made = acting(&simulator.ledger(DLQ).await.unwrap()).len();
    let stopped = ended(child).await;
    assert_eq!(stopped.code, 1, "{stopped:?}");
    assert!(stopped.stderr.contains("the state file cannot be written"), "{stopped:?}");
    assert!(stopped.stderr.contains("--resume") && stopped.stderr.contains("so far resumed"), "{stopped:?}");
    let after = acting(&simulator.ledger(DLQ).await.unwrap()).len();
    assert!(after <= made + 2, "the call under way, and one whose answer met the failure: {made}, {after}");
}

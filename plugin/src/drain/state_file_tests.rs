use std::path::PathBuf;

use dlq_crd::PolicyRun;
use serde_json::json;

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kubectl-dlq-{}", random()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("one.drain.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn of(policy: &str) -> Of {
    Of { policy: policy.to_owned(), url: "https://qstash.upstash.io/".to_owned(), spec_hash: "1".to_owned() }
}

fn run() -> PolicyRun {
    let run = json!({ "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z", "processed": 50 });
    serde_json::from_value(run).unwrap()
}

fn under_way() -> DlqPolicyStatus {
    DlqPolicyStatus { current_run: Some(run()), ..DlqPolicyStatus::default() }
}

fn ended() -> DlqPolicyStatus {
    let result = Some(dlq_crd::RunResult::Succeeded);
    DlqPolicyStatus { last_run: Some(PolicyRun { result, ..run() }), ..DlqPolicyStatus::default() }
}

fn written(folder: &Folder, status: &DlqPolicyStatus) {
    StateFile::create(&folder.file(), of("a/one")).unwrap().0.write(status).unwrap();
}

fn refusal<T>(result: Result<T, Problem>) -> String {
    result.err().map(|problem| problem.to_string()).unwrap_or_default()
}

#[test]
fn what_one_process_writes_the_next_one_continues() {
    let folder = Folder::new();
    let (file, _) = StateFile::create(&folder.file(), of("a/one")).unwrap();
    file.write(&under_way()).unwrap();
    let uid = file.uid().to_owned();
    drop(file);
    let (file, status) = StateFile::resume(&folder.file(), of("a/one")).unwrap();
    assert_eq!((file.uid(), status), (uid.as_str(), under_way()));
    drop(file);
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["one.drain.json"], "neither a lock nor a new file stays");
}

#[test]
fn two_drains_cannot_share_a_file() {
    let folder = Folder::new();
    let (first, _) = StateFile::create(&folder.file(), of("a/one")).unwrap();
    assert!(refusal(StateFile::create(&folder.file(), of("a/one"))).contains("in use"));
    assert!(refusal(StateFile::resume(&folder.file(), of("a/one"))).contains("in use"));
    drop(first);
    assert_eq!(refusal(StateFile::create(&folder.file(), of("a/one"))), "");
}

#[test]
fn a_run_that_has_not_ended_is_not_written_over_and_one_that_has_is() {
    let folder = Folder::new();
    written(&folder, &under_way());
    assert!(refusal(StateFile::create(&folder.file(), of("a/one"))).contains("--resume"));
    let folder = Folder::new();
    written(&folder, &ended());
    assert!(refusal(StateFile::create(&folder.file(), of("a/two"))).contains("a run of a/one"));
    assert_eq!(refusal(StateFile::create(&folder.file(), of("a/one"))), "");
}

#[test]
fn only_a_run_that_has_not_ended_of_the_same_policy_spec_and_account_is_continued() {
    let folder = Folder::new();
    assert!(refusal(StateFile::resume(&folder.file(), of("a/one"))).contains("does not exist"));
    written(&folder, &DlqPolicyStatus::default());
    assert!(refusal(StateFile::resume(&folder.file(), of("a/one"))).contains("no run yet"));
    written(&folder, &under_way());
    let resume = |of| refusal(StateFile::resume(&folder.file(), of));
    assert!(resume(of("a/two")).contains("policy a/one"));
    assert!(resume(Of { spec_hash: "2".to_owned(), ..of("a/one") }).contains("another spec"));
    assert!(
        resume(Of { url: "https://other.example/".to_owned(), ..of("a/one") }).contains("qstash.upstash.io")
    );
    assert_eq!(resume(of("a/one")), "");
    let folder = Folder::new();
    written(&folder, &ended());
    assert!(
        refusal(StateFile::resume(&folder.file(), of("a/one")))
            .contains("has ended (Succeeded: resumed 50 entries")
    );
}

#[test]
fn a_file_of_something_else_is_left_as_it_is() {
    let folder = Folder::new();
    for text in ["kind: DlqPolicy\n", "{}", "", r#"{"format":"kubectl-dlq/v9"}"#] {
        fs::write(folder.file(), text).unwrap();
        assert!(refusal(StateFile::create(&folder.file(), of("a/one"))).contains("no state file"), "{text}");
        assert!(refusal(StateFile::resume(&folder.file(), of("a/one"))).contains("no state file"), "{text}");
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), text);
    }
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = Folder::new();
    let (file, _) = StateFile::create(&folder.file(), of("a/one")).unwrap();
    file.write(&under_way()).unwrap();
    let before = fs::read(folder.file()).unwrap();
    // What is written first is in the way.
    fs::create_dir(folder.0.join("one.drain.json.new")).unwrap();
    assert!(file.write(&ended()).is_err());
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

#[test]
fn a_link_that_came_with_the_policy_is_not_followed() {
    let folder = Folder::new();
    let victim = folder.0.join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, beside(&folder.file(), "new")).unwrap();
    drop(StateFile::create(&folder.file(), of("a/one")).unwrap());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), beside(&folder.file(), "lock")).unwrap();
    assert!(refusal(StateFile::create(&folder.file(), of("a/one"))).contains("symbolic link"));
    assert!(!folder.0.join("elsewhere").exists());
}

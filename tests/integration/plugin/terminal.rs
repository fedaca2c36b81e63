//! The terminal, pipes, kubectl itself, and API servers that refuse or dawdle.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{ApiServerProxy, CallKind, ControlPlane, Entry, ScratchDir, Trouble, User};

use super::person::Desk;
use crate::cluster::control_plane;
use crate::generated_files::definitions;
use crate::scene::{DLQ, Scene, TOKEN};

#[tokio::test]
async fn output_into_a_pipe_that_closes_ends_quietly() {
    let scene = Scene::start("plugin-pipe").await;
    let spec = json!({ "action": "resume", "trigger": "Manual", "filters": { "labels": ["a"] } });
    scene.apply_crowd(150, &spec).await;
    let desk = Desk::of(&scene).await;
    let plugin = desk.plugin().display().to_string();
    let namespace = scene.namespace.name();
    for command in ["list -o json", "list -o yaml", "list", "status p0 --watch", "--help"] {
        let scoped = if command == "--help" { String::new() } else { format!("-n {namespace}") };
        let script = format!("{plugin} {command} {scoped} | head -n 1; echo ${{PIPESTATUS[0]}}");
        let touched = async {
            // A watch writes again when something changes.
            for number in 0..10 {
                tokio::time::sleep(Duration::from_millis(500)).await;
                scene.annotate("p0", &[("paused", if number % 2 == 0 { "true" } else { "false" })]).await;
            }
        };
        let args = ["-c", script.as_str()];
        let ran = desk.runs_program(Path::new("bash"), &args);
        let ran = if command.contains("watch") { tokio::join!(ran, touched).0 } else { ran.await };
        assert_eq!(ran.stderr, "", "{command}: {ran:?}");
        assert!(ran.stdout.ends_with("\n0\n"), "{command}: {ran:?}");
    }
}

/// The plugin where kubectl finds it, with what completes it.
async fn installed(desk: &Desk, kubectl: &Path) -> String {
    let bin = desk.home().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for (name, target) in [("kubectl-dlq", desk.plugin()), ("kubectl", kubectl)] {
        std::os::unix::fs::symlink(target, bin.join(name)).unwrap();
    }
    let script = desk.runs(&["completion", "kubectl"]).await.ok();
    let path = bin.join("kubectl_complete-dlq");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    bin.display().to_string()
}

#[tokio::test]
async fn kubectl_runs_the_plugin_and_completes_the_names_of_policies() {
    let scene = Scene::start("plugin-kubectl").await;
    let spec = json!({ "action": "resume", "trigger": "Manual", "filters": { "labels": ["a"] } });
    for name in ["payments", "payouts", "checkout"] {
        scene.apply(name, spec.clone()).await;
        scene.status(name, "it is seen", |status| status["observedGeneration"] == 1).await;
    }
    let desk = Desk::of(&scene).await;
    let bin = installed(&desk, scene.control_plane.kubectl_binary()).await;
    let desk = Desk::of(&scene).await.env("PATH", &format!("{bin}:/usr/bin:/bin"));
    let kubectl = Path::new(&bin).join("kubectl");
    let namespace = scene.namespace.name();
    let list = desk.runs_program(&kubectl, &["dlq", "list", "-n", namespace]).await.ok();
    assert!(list.contains("payouts"), "{list}");
    let complete = async |args: &[&str]| {
        let args: Vec<_> = ["__complete", "dlq"].into_iter().chain(args.iter().copied()).collect();
        let lines = desk.runs_program(&kubectl, &args).await.ok();
        let words = lines.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned);
        words.collect::<Vec<_>>()
    };
    assert_eq!(complete(&["run", "-n", namespace, "pay"]).await, ["payments", "payouts", ":4"]);
    assert_eq!(complete(&["unp"]).await, ["unpause", ":4"]);
    assert_eq!(complete(&["list", "-o", "js"]).await, ["json", ":4"]);

    let script = desk.runs(&["completion", "bash"]).await.ok();
    let typed = format!(
        "{script}\nCOMP_WORDS=(kubectl-dlq status -n {namespace} payo); COMP_CWORD=4; _kubectl_dlq; echo \"${{COMPREPLY[*]}}\""
    );
    let completed = desk.runs_program(Path::new("bash"), &["-c", &typed]).await.ok();
    assert_eq!(completed, "payouts\n");
}

#[tokio::test]
async fn a_cluster_without_the_definitions_or_with_others_says_what_to_install() {
    let control_plane = ControlPlane::start().await.unwrap();
    let desk = Desk::with(control_plane.kubeconfig(), "default").await;
    let commands = [&["list"][..], &["status", "a"], &["run", "a", "--yes"], &["top"]];
    for command in commands {
        let said = desk.runs(command).await.failed(1);
        assert!(said.contains("knows no DlqPolicy; install dlq-operator"), "{command:?}: {said}");
    }
    let dir = ScratchDir::create("newer").unwrap();
    let path = dir.path().join("crds.yaml");
    let newer = definitions().map(|(_, text)| text.replace("v1alpha1", "v1beta1")).join("---\n");
    std::fs::write(&path, newer).unwrap();
    control_plane.install_crd(&path).await.unwrap();
    for command in commands {
        let said = desk.runs(command).await.failed(1);
        assert!(said.contains("in version v1beta1, and this plugin reads v1alpha1"), "{command:?}: {said}");
    }
}

#[tokio::test]
async fn what_may_not_be_done_names_the_role_that_may() {
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace("plugin-rights").await.unwrap();
    let token = control_plane.token(User::Bob).unwrap();
    let kubeconfig = control_plane.kubeconfig_for("plugin-bob", token).unwrap();
    let desk = Desk::with(&kubeconfig, namespace.name()).await;
    for command in [&["list"][..], &["status", "a"], &["list", "-A"]] {
        let said = desk.runs(command).await.failed(1);
        assert!(
            said.contains("\"bob\" cannot") && said.contains("ask for the role view"),
            "{command:?}: {said}"
        );
    }
    let stranger = control_plane.kubeconfig_for("plugin-stranger", "a-token-of-nobody").unwrap();
    let desk = Desk::with(&stranger, namespace.name()).await;
    let said = desk.runs(&["list"]).await.failed(1);
    assert!(said.contains("does not accept your credentials"), "{said}");
    assert!(!said.contains("a-token-of-nobody"), "{said}");
}

#[tokio::test]
async fn an_api_server_that_is_slow_is_waited_for_and_one_that_hangs_is_not() {
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace("plugin-slow").await.unwrap();
    let proxy = ApiServerProxy::start(control_plane, User::Admin).await.unwrap();
    let desk = Desk::with(&proxy.kubeconfig(), namespace.name()).await;
    proxy.trouble(&[CallKind::ListPolicies], Trouble::Slow);
    let said = desk.runs(&["list"]).await;
    assert!(said.code == Some(0) && said.stderr.contains("No policies in namespace"), "{said:?}");
    proxy.clear();
    proxy.trouble(&[], Trouble::Hang);
    let since = Instant::now();
    let said = desk.runs(&["list", "--request-timeout=2s"]).await.failed(1);
    assert!(said.contains("did not answer within 2s") && said.contains("--request-timeout"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let completed = desk.runs(&["__complete", "status", ""]).await.ok();
    assert_eq!(completed, ":4\n", "nothing is written into the line that is typed");
    proxy.cut();

    let nowhere = ScratchDir::create("nowhere").unwrap();
    let desk = Desk::with(&nowhere.path().join("kubeconfig"), "default").await;
    let said = desk.runs(&["list"]).await.failed(1);
    assert!(said.contains("there is no kubeconfig"), "{said}");
}

#[tokio::test]
async fn what_only_looks_is_shown_at_a_terminal_too() {
    let scene = Scene::start("plugin-looks").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let spec = json!({ "action": "resume", "trigger": "Manual", "filters": { "all": true } });
    scene.apply("payments", spec).await;
    let url = scene.simulator.api_url();
    let desk = Desk::of(&scene).await.env("QSTASH_TOKEN", TOKEN).env("QSTASH_URL", url);
    let manifest = desk.home().join("policy.yaml");
    let misspelt = "apiVersion: dlq-operator.dev/v1alpha1\nkind: DlqPolicy\nmetadata: { name: a }\n\
                    spec:\n  action: resume\n  filters: { al: true }\n";
    std::fs::write(&manifest, misspelt).unwrap();
    let manifest = manifest.display().to_string();
    for (args, code, shown) in [
        (&["preview", "payments"][..], 0, "3 entries would be acted on now"),
        (&["explain", "payments"], 0, "curl --silent"),
        (&["history", "payments"], 0, "payments"),
        (&["top"], 0, "POLICIES"),
        (&["lint", "-f", &manifest], 1, "did you mean all?"),
    ] {
        let mut person = desk.types_at(80, args);
        let (ended, screen) = person.ends().await;
        // A line that is longer than the terminal is broken anywhere.
        let text: String = screen.split_whitespace().collect();
        let shown: String = shown.split_whitespace().collect();
        assert!(ended == code && text.contains(&shown), "{args:?} ended with {ended}:\n{screen}");
    }
}

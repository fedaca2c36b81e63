//! The testbed against real processes: a shell here, etcd and kube-apiserver there.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use testbed::{
    ControlPlane, Entry, Fate, Helm, Process, Program, Prometheus, ScratchDir, Signal, Simulator, User,
    eventually, workspace_root,
};

const SOON: Duration = Duration::from_secs(10);

fn shell(dir: &Path, script: &str) -> Result<Process> {
    Process::start(Program {
        name: "shell",
        binary: Path::new("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        dir,
    })
}

fn runs(pid: &str) -> bool {
    // A zombie has ended: only nobody has asked yet how.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_process_has_its_own_environment_and_a_log() -> Result<()> {
    let dir = ScratchDir::create("test")?;
    let mut process = shell(dir.path(), "echo $GREETING ${HOME:-nowhere}; echo oops >&2; exit 3")?;
    let status = process.wait(SOON).await?;
    assert_eq!(status.code(), Some(3));
    assert_eq!(process.log(), "hello nowhere\noops\n");
    assert!(process.signal(Signal::TERM).is_err());
    Ok(())
}

#[tokio::test]
async fn a_signal_reaches_the_process() -> Result<()> {
    let dir = ScratchDir::create("test")?;
    let mut process =
        shell(dir.path(), "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done")?;
    eventually(SOON, "the shell is up", async || process.log().contains("up")).await?;
    process.signal(Signal::TERM)?;
    assert_eq!(process.wait(SOON).await?.code(), Some(7));
    assert!(process.log().contains("bye"));
    Ok(())
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_what_it_started() -> Result<()> {
    let dir = ScratchDir::create("test")?;
    let process = shell(dir.path(), "sleep 1000 & echo $!; wait")?;
    let child = eventually(SOON, "the shell has started a process", async || {
        process.log().lines().next().map(str::to_owned)
    })
    .await?;
    assert!(runs(&child));
    let pid = process.pid().to_string();
    drop(process);
    assert!(!runs(&pid));
    eventually(SOON, "the process it started is gone", async || !runs(&child)).await
}

#[tokio::test]
async fn a_wait_that_fails_tells_what_it_saw_last() {
    let failed =
        eventually(Duration::from_millis(50), "it is done", async || Err::<(), _>("half done")).await;
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("it is done") && message.contains("half done"), "{message}");
}

#[tokio::test]
async fn what_an_owner_leaves_behind_when_it_is_killed_is_stopped_and_removed() -> Result<()> {
    // Cargo builds examples together with the tests, in a folder beside theirs.
    let tests = std::env::current_exe()?;
    let examples = tests.parent().and_then(Path::parent).context("the target folder")?.join("examples");
    let mut owner =
        Command::new(examples.join("owner")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut belongings = String::new();
    BufReader::new(owner.stdout.take().context("its output")?).read_line(&mut belongings)?;
    let mut words = belongings.trim_end().splitn(3, ' ').map(str::to_owned);
    let mut next = || words.next().context("a report of three words");
    let (obedient, stubborn, dir) = (next()?, next()?, PathBuf::from(next()?));
    assert!(runs(&obedient) && runs(&stubborn) && dir.is_dir());

    owner.kill()?;
    owner.wait()?;

    eventually(SOON, "the process that obeys is gone", async || !runs(&obedient)).await?;
    eventually(SOON, "the process that ignores SIGTERM is gone", async || !runs(&stubborn)).await?;
    eventually(SOON, "the folder is gone", async || !dir.exists()).await
}

#[tokio::test]
async fn kubectl_talks_to_the_control_plane() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let version = control_plane.kubectl(&["version", "-o", "json"]).await?.ok()?;
    let version: serde_json::Value = serde_json::from_str(&version)?;
    assert_eq!(version["serverVersion"]["gitVersion"], version["clientVersion"]["gitVersion"]);

    let (one, other) = (control_plane.namespace("same").await?, control_plane.namespace("same").await?);
    assert_ne!(one.name(), other.name());
    control_plane.kubectl(&["create", "secret", "generic", "upstash", "-n", one.name()]).await?.ok()?;

    let refused = control_plane.kubectl_apply("apiVersion: v1\nkind: Nonsense\n").await?;
    assert!(!refused.status.success());
    assert!(refused.ok().unwrap_err().to_string().contains("Nonsense"));
    Ok(())
}

#[tokio::test]
async fn other_users_and_service_accounts_may_do_what_is_granted_to_them() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let namespace = control_plane.namespace("rbac").await?;
    let n = namespace.name();
    let alice = control_plane.kubectl_as(User::Alice);
    assert!(!alice.run(&["get", "pods", "-n", n]).await?.status.success());
    // Not the ClusterRole `view`: a controller fills it, and there is none.
    control_plane
        .kubectl(&["create", "role", "look", "--verb=list", "--resource=pods", "-n", n])
        .await?
        .ok()?;
    let bind = ["create", "rolebinding", "look", "--role=look", "--user=alice", "-n", n];
    control_plane.kubectl(&bind).await?.ok()?;
    eventually(SOON, "alice may look", async || alice.run(&["get", "pods", "-n", n]).await?.ok()).await?;

    control_plane.kubectl(&["create", "serviceaccount", "robot", "-n", n]).await?.ok()?;
    let token = control_plane.service_account_token(n, "robot").await?;
    let kubeconfig = control_plane.kubeconfig_for("robot", &token)?;
    let kubeconfig = kubeconfig.display().to_string();
    let me = control_plane.kubectl(&["--kubeconfig", &kubeconfig, "auth", "whoami"]).await?.ok()?;
    assert!(me.contains(&format!("system:serviceaccount:{n}:robot")), "{me}");
    Ok(())
}

#[tokio::test]
async fn an_installed_crd_can_be_used_at_once() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    control_plane.install_crd(&workspace_root().join("testbed/tests/widgets.yaml")).await?;
    let namespace = control_plane.namespace("widgets").await?;
    let widget = format!(
        "{{apiVersion: testbed.example.com/v1, kind: Widget, metadata: {{name: w, namespace: {namespace}}}}}"
    );
    control_plane.kubectl_apply(&widget).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_control_plane_can_be_started_from_a_task() -> Result<()> {
    let control_plane = tokio::spawn(ControlPlane::shared()).await??;
    assert!(control_plane.url()?.starts_with("https://127.0.0.1:"));
    assert!(control_plane.ca()?.is_file());
    Ok(())
}

#[tokio::test]
async fn the_simulator_holds_what_it_was_given_and_tells_what_it_was_asked() -> Result<()> {
    let simulator = Simulator::start().await?;
    simulator.allow("token", "dlq").await?;
    let named = Entry { dlq_id: Some("named".to_owned()), unresumable: true, ..Entry::default() };
    assert_eq!(simulator.add("dlq", &[named]).await?, ["named"]);
    let paid = Entry { labels: vec!["paid".to_owned()], ..Entry::default() };
    assert_eq!(simulator.generate("dlq", 3, &paid).await?.len(), 3);

    let resume = format!("{}/v2/workflows/dlq/resume?label=paid&count=2", simulator.api_url());
    let client = reqwest::Client::new();
    let resumed = client.post(resume).bearer_auth("token").header("Upstash-Retries", "5").send().await?;
    assert!(resumed.status().is_success());

    let ledger = simulator.ledger("dlq").await?;
    let [call] = ledger.calls.as_slice() else { panic!("expected one call: {:?}", ledger.calls) };
    assert_eq!((call.method.as_str(), call.query.as_str(), call.status), ("POST", "label=paid&count=2", 200));
    assert_eq!(
        (call.header("upstash-retries"), call.authorization, call.token_in_query),
        (Some("5"), true, false)
    );
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 2);
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 2);
    assert!(ledger.workflow_runs.iter().all(|run| run.retries == 5 && run.labels == ["paid"]));

    let refused =
        simulator.add("dlq", &[Entry { dlq_id: Some("named".to_owned()), ..Entry::default() }]).await;
    assert!(refused.unwrap_err().to_string().contains("named"));
    Ok(())
}

#[tokio::test]
async fn prometheus_scrapes_what_it_is_told_to() -> Result<()> {
    if !Prometheus::is_installed()? {
        return Ok(());
    }
    let other = Prometheus::start(&[]).await?;
    let prometheus = Prometheus::start(&[other.url()]).await?;
    eventually(SOON, "the target is up", async || -> Result<()> {
        let samples = prometheus.query(r#"up{job="dlq-operator"} == 1"#).await?;
        samples.first().map(drop).context("it is not up")
    })
    .await?;
    assert_eq!(prometheus.targets().await?.len(), 1);
    assert!(prometheus.alerts().await?.is_empty());
    assert!(prometheus.query("no{").await.is_err());
    Ok(())
}

#[tokio::test]
async fn helm_is_the_pinned_one_and_has_a_home_of_its_own() -> Result<()> {
    let helm = Helm::offline().await?;
    let oldest = Helm::oldest(Path::new("/dev/null")).await?;
    for (helm, folder, module) in
        [(&helm, "hack/helm", "helm.sh/helm/v4"), (&oldest, "hack/helm/oldest", "helm.sh/helm/v3")]
    {
        let pinned = fs::read_to_string(workspace_root().join(folder).join("go.mod"))?;
        let version = helm.run(&["version", "--template={{.Version}}"]).await?.ok()?;
        assert!(pinned.contains(&format!("{module} {version} ")), "{version}");
    }
    let environment = helm.run(&["env"]).await?.ok()?;
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        let line = environment.lines().find(|line| line.starts_with(name)).context("helm knows it")?;
        assert!(line.contains("testbed-helm-"), "{line}");
    }
    Ok(())
}

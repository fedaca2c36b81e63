//! One pod: its containers as processes, their probes, and what its status says.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Images, NODE_ADDRESS,
    api::Api,
    container::{References, command_line, environment, listen_on, text},
    probe::{Finding, Probe},
    sandbox::{Identity, Sandbox},
    volumes::{Owner, Volumes},
};
use crate::{Process, Signal, Tokens};

const TICK: Duration = Duration::from_millis(50);
/// The kubelet begins with ten seconds, and nobody wants to wait for those.
const FIRST_BACK_OFF: Duration = Duration::from_millis(300);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// A pod that is played here.
#[derive(Clone, Debug)]
pub struct PodView {
    pub name: String,
    /// Of its own: what it listens on.
    pub address: Ipv4Addr,
    pub ready: bool,
    pub restarts: u64,
    /// Of the first container's process; none while it does not run.
    pub process: Option<i32>,
    /// Why a container is not started.
    pub problem: Option<String>,
    /// The log of the first container, over its restarts.
    pub log: PathBuf,
}

pub(super) struct PodRunner {
    pub(super) api: Api,
    pub(super) images: Arc<Images>,
    pub(super) tokens: Tokens,
    /// The names of Services, in `/etc/hosts`.
    pub(super) hosts: Arc<Mutex<String>>,
    pub(super) dir: PathBuf,
    pub(super) pod: Value,
    pub(super) view: Arc<Mutex<PodView>>,
    pub(super) http: reqwest::Client,
}

struct Container {
    spec: Value,
    process: Option<Process>,
    probes: Probes,
    restarts: u64,
    start_at: Instant,
    exit_code: Option<i32>,
    problem: Option<String>,
}

#[derive(Default)]
struct Probes {
    startup: Option<Probe>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
}

impl Container {
    fn is_ready(&self) -> bool {
        let passed =
            |probe: &Option<Probe>| probe.as_ref().is_none_or(|probe| probe.finding == Finding::Success);
        self.process.is_some() && passed(&self.probes.startup) && passed(&self.probes.readiness)
    }

    fn status(&self) -> Value {
        let state = match (&self.process, &self.problem, self.exit_code) {
            (Some(_), _, _) => json!({ "running": {} }),
            (None, Some(problem), _) => {
                json!({ "waiting": { "reason": "CreateContainerConfigError", "message": problem } })
            }
            (None, None, Some(code)) => {
                let reason = if code == 0 { "Completed" } else { "Error" };
                json!({ "terminated": { "exitCode": code, "reason": reason } })
            }
            (None, None, None) => json!({ "waiting": { "reason": "ContainerCreating" } }),
        };
        json!({
            "name": self.spec["name"], "image": self.spec["image"], "imageID": "", "ready": self.is_ready(),
            "started": self.process.is_some(), "restartCount": self.restarts, "state": state,
        })
    }
}

impl PodRunner {
    /// Plays the pod until it is asked to stop with so much grace, or has ended by itself; then it says so.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<Option<Duration>>) {
        let specs = self.pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        let now = Instant::now();
        let mut containers: Vec<_> = specs
            .into_iter()
            .map(|spec| Container {
                spec,
                process: None,
                probes: Probes::default(),
                restarts: 0,
                start_at: now,
                exit_code: None,
                problem: None,
            })
            .collect();
        self.pod["status"]["podIP"] = self.address().to_string().into();
        self.pod["status"]["hostIP"] = NODE_ADDRESS.into();
        let mut told = Value::Null;
        loop {
            let asked = *stop.borrow_and_update();
            if let Some(grace) = asked {
                self.terminate(containers, grace).await;
                return;
            }
            for container in &mut containers {
                self.tend(container).await;
            }
            let status = self.status(&containers);
            if status != told && self.tell(&status).await.is_ok() {
                told = status;
            }
            let _ = tokio::time::timeout(TICK, stop.changed()).await;
        }
    }

    fn address(&self) -> Ipv4Addr {
        self.seen(|view| view.address)
    }

    fn seen<T>(&self, look: impl FnOnce(&mut PodView) -> T) -> T {
        look(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self) -> String {
        let metadata = &self.pod["metadata"];
        format!("/api/v1/namespaces/{}/pods/{}", text(&metadata["namespace"]), text(&metadata["name"]))
    }

    fn restarts_after(&self, code: i32) -> bool {
        match text(&self.pod["spec"]["restartPolicy"]) {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => true,
        }
    }

    async fn tend(&self, container: &mut Container) {
        let ended = container.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
        if let Some(status) = ended {
            self.ended(container, status.code().unwrap_or(137));
        }
        let Some(process) = &mut container.process else {
            let is_over = container.exit_code.is_some_and(|code| !self.restarts_after(code));
            if !is_over && Instant::now() >= container.start_at {
                container.problem = self.start(container).await.err().map(|error| format!("{error:#}"));
                if container.problem.is_some() {
                    container.start_at = Instant::now() + FIRST_BACK_OFF;
                }
            }
            return;
        };
        let probes = &mut container.probes;
        let has_failed =
            |probe: &Option<Probe>| probe.as_ref().is_some_and(|probe| probe.finding == Finding::Failure);
        if let Some(probe) = &mut probes.startup
            && probe.finding != Finding::Success
        {
            probe.look(&self.http, true).await;
        } else {
            if let Some(probe) = &mut probes.readiness {
                probe.look(&self.http, true).await;
            }
            if let Some(probe) = &mut probes.liveness {
                probe.look(&self.http, false).await;
            }
        }
        if has_failed(&probes.startup) || has_failed(&probes.liveness) {
            let _ = process.signal(Signal::TERM);
            let _ = process.wait(self.grace()).await;
            let _ = process.kill();
        }
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    fn ended(&self, container: &mut Container, code: i32) {
        container.process = None;
        container.exit_code = Some(code);
        container.probes = Probes::default();
        if self.restarts_after(code) {
            let doublings = u32::try_from(container.restarts).unwrap_or(8).min(8);
            container.start_at =
                Instant::now() + (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF);
            container.restarts += 1;
        }
    }

    async fn start(&self, container: &mut Container) -> Result<()> {
        let (pod, spec) = (&self.pod, &container.spec);
        // What is not played must not be passed over.
        for (place, field) in [(&pod["spec"], "initContainers"), (spec, "lifecycle"), (spec, "workingDir")] {
            ensure!(place[field].is_null(), "{field} is not played here");
        }
        let namespace = text(&pod["metadata"]["namespace"]);
        let secrets = self.api.list(&format!("/api/v1/namespaces/{namespace}/secrets")).await?;
        let config_maps = self.api.list(&format!("/api/v1/namespaces/{namespace}/configmaps")).await?;
        let references = References::new(&secrets, &config_maps, self.api.ca())?;
        let image = self.images.get(text(&spec["image"]))?;
        let identity = Identity::of(spec, pod, image)?;
        let volumes = Volumes {
            api: &self.api,
            pod,
            references: &references,
            tokens: &self.tokens,
            owner: Owner { user: Some(identity.user), group: identity.fs_group },
            dir: &self.dir.join("volumes"),
        };
        let mounts = volumes.mounts(spec).await?;
        let mut environment = environment(spec, pod, &references, &self.services())?;
        let mut command_line = command_line(spec, &image.entrypoint, &environment)?;
        let address = self.address();
        listen_on(address, &mut command_line, &mut environment);
        let names = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let hosts = format!("127.0.0.1 localhost\n{address} {}\n{names}", text(&pod["metadata"]["name"]));
        let process = Sandbox {
            name: text(&spec["name"]),
            dir: &self.dir,
            image,
            identity: &identity,
            mounts: &mounts,
            hosts: &hosts,
            command_line: &command_line,
            environment: &environment,
        }
        .start()?;
        let now = Instant::now();
        let ports = std::slice::from_ref(spec);
        let probe = |field: &str| Probe::new(&spec[field], address, ports, now);
        let probes = Probes {
            startup: probe("startupProbe")?,
            readiness: probe("readinessProbe")?,
            liveness: probe("livenessProbe")?,
        };
        container.probes = probes;
        container.process = Some(process);
        Ok(())
    }

    /// What every container is told of the API server.
    fn services(&self) -> [(&'static str, String); 2] {
        let url = self.api.url().trim_start_matches("https://");
        let (host, port) = url.rsplit_once(':').unwrap_or((url, "443"));
        [("KUBERNETES_SERVICE_HOST", host.to_owned()), ("KUBERNETES_SERVICE_PORT", port.to_owned())]
    }

    /// What the kubelet says, but for times.
    fn status(&self, containers: &[Container]) -> Value {
        let ready = containers.iter().all(Container::is_ready);
        let over = containers.iter().all(|container| {
            container.process.is_none() && container.exit_code.is_some_and(|code| !self.restarts_after(code))
        });
        let failed = containers.iter().any(|container| container.exit_code.is_some_and(|code| code != 0));
        let started =
            containers.iter().any(|container| container.process.is_some() || container.restarts > 0);
        let phase = match (over, started) {
            (true, _) if failed => "Failed",
            (true, _) => "Succeeded",
            (false, true) => "Running",
            (false, false) => "Pending",
        };
        self.seen(|view| {
            view.ready = ready;
            view.restarts = containers.iter().map(|container| container.restarts).sum();
            view.problem = containers.iter().find_map(|container| container.problem.clone());
            view.process = containers.first().and_then(|first| first.process.as_ref()).map(Process::pid);
        });
        let condition =
            |kind: &str, truth: bool| json!({ "type": kind, "status": if truth { "True" } else { "False" } });
        json!({
            "phase": phase,
            "hostIP": NODE_ADDRESS,
            "podIP": self.address(),
            "podIPs": [{ "ip": self.address() }],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready),
            ],
            "containerStatuses": containers.iter().map(Container::status).collect::<Vec<_>>(),
        })
    }

    async fn tell(&self, status: &Value) -> Result<()> {
        self.api.patch(&format!("{}/status", self.path()), &json!({ "status": status })).await
    }

    /// SIGTERM, the grace, SIGKILL; then the pod goes from the API server.
    async fn terminate(&self, mut containers: Vec<Container>, grace: Duration) {
        self.seen(|view| view.ready = false);
        for container in &mut containers {
            if let Some(process) = &mut container.process {
                let _ = process.signal(Signal::TERM);
            }
        }
        let deadline = Instant::now() + grace;
        for container in &mut containers {
            if let Some(process) = &mut container.process {
                let _ = process.wait(deadline.saturating_duration_since(Instant::now())).await;
                let _ = process.kill();
            }
        }
        drop(containers);
        let now = json!({
            "gracePeriodSeconds": 0, "preconditions": { "uid": self.pod["metadata"]["uid"] },
        });
        while let Err(error) = self.api.delete(&self.path(), &now).await {
            self.seen(|view| view.problem = Some(format!("{error:#}")));
            sleep(FIRST_BACK_OFF).await;
        }
    }
}

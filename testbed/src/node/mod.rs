//! A node for pods, and the controllers that make them, on a control plane that has neither.

mod api;
mod container;
mod pod;
mod probe;
mod rollout;
mod sandbox;
mod service;
mod volumes;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::sleep};

pub use self::pod::PodView;
use self::{
    api::Api,
    container::text,
    pod::PodRunner,
    rollout::{Seen, Step},
    sandbox::Image,
    service::Services,
};
use crate::{ControlPlane, ScratchDir, Tokens, announce, binary, environment::Environment, random_hex};

const NODE: &str = "testbed";
const NODE_ADDRESS: &str = "127.0.0.1";
const ROUND: Duration = Duration::from_millis(150);
/// Where the operator's image has its binary.
const OPERATOR: &str = "/usr/local/bin/dlq-operator";
/// Its user.
const OPERATOR_USER: u32 = 65532;

/// The images that are known here, by the last part of their repository. Others give what the machine has.
struct Images {
    known: BTreeMap<String, Image>,
    machine: Image,
}

impl Images {
    fn get(&self, reference: &str) -> Result<&Image> {
        ensure!(!reference.is_empty(), "a container without an image");
        let repository = reference.split('@').next().unwrap_or(reference);
        let last = repository.rsplit('/').next().unwrap_or(repository);
        let name = last.split(':').next().unwrap_or(last);
        Ok(self.known.get(name).unwrap_or(&self.machine))
    }
}

/// Plays what stands between a Deployment and its processes, for one namespace: the controllers of Deployments and
/// `ReplicaSets`, the garbage collector of both, the one that makes the `default` `ServiceAccount`, the scheduler, the
/// kubelet, and kube-proxy. The objects are real ones of the API server, whose defaulting and admission apply; so are
/// the tokens, which are bound to their pods.
///
/// A container is a process in a mount namespace of its own (`sandbox.sh`). Exactly as its spec says are: its command, args
/// and environment (Secrets, `ConfigMaps`, fields of the pod; `envFrom`), the in-cluster variables and the files of its
/// `ServiceAccount` at their well-known path, volumes of the kinds emptyDir, secret, configMap, downwardAPI and projected,
/// a root folder that is read-only where it is to be, user, groups, capabilities and `no_new_privs` (the user only where
/// root runs this), HTTP probes with their thresholds, restarts, SIGTERM and the grace period.
///
/// Otherwise than on a real node:
///
/// * No image is pulled: a container sees the machine's `/usr` but for `/usr/local`, its `/bin`, `/lib*` and CA roots, the
///   operator's binary where the image has it, its mounts, and nothing else.
/// * All pods share the machine's network. Each has a loopback address of its own, and where it would listen on
///   `0.0.0.0:PORT` it is told that address instead. That is all of a command line that is changed. So nothing else
///   on the machine may listen on that port of all addresses. Services have such addresses too, and their names are in
///   each pod's `/etc/hosts` as they were at its start.
/// * A rolling update starts every new pod first, and stops the old ones when all of those are ready.
/// * Probes come early while a container is not ready, and restarts begin after 0.3 s.
/// * Status and conditions carry no times. Tokens and volumes are not renewed while a pod runs.
///
/// Not played, and refused when met: init containers, lifecycle hooks, working folders, probes other than `httpGet`,
/// `resourceFieldRef`, volumes of other kinds. Passed over: resources, seccomp and other profiles, where pods should be
/// placed, image pull secrets, network policies, disruption budgets, priorities, deadlines, the variables of Services other
/// than the API server's, `hostNetwork` and its like, `minReadySeconds`, `maxSurge` and `maxUnavailable`.
pub struct Node {
    shared: Arc<Shared>,
    tokens: Tokens,
    task: tokio::task::JoinHandle<()>,
    dir: ScratchDir,
}

#[derive(Default)]
struct Shared {
    pods: Mutex<BTreeMap<String, Arc<Mutex<PodView>>>>,
    problems: Mutex<BTreeSet<String>>,
}

impl Node {
    /// Whether pods can be played here: where they cannot, the caller skips its test, and this has said so.
    /// `REQUIRE_PODS=1` makes it an error.
    pub fn is_possible() -> Result<bool> {
        let Some(problem) = sandbox::problem() else { return Ok(true) };
        ensure!(!Environment::is_set("REQUIRE_PODS"), "REQUIRE_PODS=1, and pods cannot be played: {problem}");
        announce(&format!("skipped, as pods cannot be played here: {problem}"));
        Ok(false)
    }

    /// Serves a namespace. `tokens` is told the tokens of `ServiceAccounts`, and no log of a pod may show one of it.
    pub async fn start(control_plane: &ControlPlane, namespace: &str, tokens: &Tokens) -> Result<Self> {
        let dir = ScratchDir::create("node")?;
        let operator = Image {
            entrypoint: vec![OPERATOR.to_owned()],
            user: OPERATOR_USER,
            programs: vec![(OPERATOR.to_owned(), binary("dlq-operator").await?)],
        };
        let client = |entrypoint: &[&str]| Image {
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
            user: 0,
            programs: Vec::new(),
        };
        let known =
            BTreeMap::from([("dlq-operator".to_owned(), operator), ("curl".to_owned(), client(&["curl"]))]);
        let api = Api::new(control_plane)?;
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        if api.get(&format!("{accounts}/default")).await?.is_none() {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
            });
            api.create(&accounts, &account).await?;
        }
        let shared = Arc::new(Shared::default());
        let world = World {
            api,
            namespace: namespace.to_owned(),
            images: Arc::new(Images { known, machine: client(&[]) }),
            tokens: tokens.clone(),
            hosts: Arc::default(),
            services: Services::default(),
            stops: BTreeMap::new(),
            runners: JoinSet::new(),
            shared: Arc::clone(&shared),
            dir: dir.path().to_owned(),
            // Each probe is to open a connection of its own.
            http: reqwest::Client::builder().pool_max_idle_per_host(0).build()?,
        };
        Ok(Self { shared, tokens: tokens.clone(), task: tokio::spawn(world.serve()), dir })
    }

    /// The pods that are here now, by their names.
    pub fn pods(&self) -> Vec<PodView> {
        let pods = self.shared.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pods: Vec<_> =
            pods.values().map(|pod| pod.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        pods
    }

    /// What went wrong here, not in the pods: what the API server refused, above all.
    pub fn problems(&self) -> Vec<String> {
        self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The logs of all pods, also of those that are gone.
    pub fn logs(&self) -> String {
        let files = |dir: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        };
        let logs = files(self.dir.path()).into_iter().flat_map(|pod| files(&pod));
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }
}

impl Drop for Node {
    #[expect(clippy::panic, reason = "a token in a log fails the test, whatever it is about")]
    #[expect(clippy::print_stderr, reason = "the harness shows it beside the test that failed")]
    fn drop(&mut self) {
        // What runs in it is killed as it is dropped.
        self.task.abort();
        if std::thread::panicking() {
            eprintln!("--- pods: {:#?}\n--- problems: {:#?}\n{}", self.pods(), self.problems(), self.logs());
        } else if let Some(shown) = self.tokens.shown_in(&self.logs()) {
            panic!("in the log of a pod {shown}");
        }
    }
}

struct World {
    api: Api,
    namespace: String,
    images: Arc<Images>,
    tokens: Tokens,
    hosts: Arc<Mutex<String>>,
    services: Services,
    /// How pods are asked to stop, by their UIDs.
    stops: BTreeMap<String, watch::Sender<Option<Duration>>>,
    runners: JoinSet<()>,
    shared: Arc<Shared>,
    dir: PathBuf,
    http: reqwest::Client,
}

impl World {
    async fn serve(mut self) {
        loop {
            if let Err(error) = self.round().await {
                let mut problems = self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner);
                problems.insert(format!("{error:#}"));
            }
            sleep(ROUND).await;
        }
    }

    fn path(&self, group: &str, resource: &str) -> String {
        format!("/{group}/namespaces/{}/{resource}", self.namespace)
    }

    async fn round(&mut self) -> Result<()> {
        let (deployments, sets) =
            (self.path("apis/apps/v1", "deployments"), self.path("apis/apps/v1", "replicasets"));
        let (pods, services) = (self.path("api/v1", "pods"), self.path("api/v1", "services"));
        // Owners last: what is made meanwhile is no orphan.
        let services = self.api.list(&services).await?;
        let pods_now = self.api.list(&pods).await?;
        let replica_sets = self.api.list(&sets).await?;
        let seen = Seen { deployments: self.api.list(&deployments).await?, replica_sets, pods: pods_now };
        self.services.follow(&services, &seen.pods).await?;
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = self.services.hosts(&self.namespace);
        self.play(&seen.pods).await?;
        for step in seen.steps(NODE) {
            match step {
                Step::CreateReplicaSet(set) => drop(self.api.create(&sets, &set).await?),
                Step::CreatePod(pod) => drop(self.api.create(&pods, &pod).await?),
                Step::DeleteReplicaSet(name) => {
                    self.api.delete(&format!("{sets}/{name}"), &json!({})).await?;
                }
                Step::DeletePod(name) => {
                    self.api.delete(&format!("{pods}/{name}"), &json!({})).await?;
                }
                Step::Status(name, status) => {
                    self.api
                        .patch(&format!("{deployments}/{name}/status"), &json!({ "status": status }))
                        .await?;
                }
                Step::ReplicaSetStatus(name, status) => {
                    self.api.patch(&format!("{sets}/{name}/status"), &json!({ "status": status })).await?;
                }
            }
        }
        Ok(())
    }

    /// Starts the pods that are new, and stops those that are deleted.
    async fn play(&mut self, pods: &[Value]) -> Result<()> {
        while self.runners.try_join_next().is_some() {}
        let uid = |pod: &Value| text(&pod["metadata"]["uid"]).to_owned();
        // Who deletes without grace does not ask.
        let is_there = |known: &String| pods.iter().any(|pod| uid(pod) == *known);
        for gone in self.stops.keys().filter(|known| !is_there(known)).cloned().collect::<Vec<_>>() {
            self.stop(&gone, Duration::ZERO);
        }
        for pod in pods {
            let metadata = &pod["metadata"];
            if metadata["deletionTimestamp"].is_string() {
                let grace = Duration::from_secs(metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0));
                self.stop(&uid(pod), grace);
            } else if pod["spec"]["nodeName"].is_null() {
                self.bind(text(&metadata["name"])).await?;
            } else if !self.stops.contains_key(&uid(pod)) {
                self.begin(&uid(pod), pod)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self, uid: &str, grace: Duration) {
        if let Some(stop) = self.stops.get(uid) {
            // Only the first word counts; a pod that has ended hears nothing.
            stop.send_if_modified(|asked| asked.is_none() && asked.replace(grace).is_none());
        }
        let is_over = self.stops.get(uid).is_some_and(watch::Sender::is_closed);
        if is_over {
            self.stops.remove(uid);
            self.shared.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        }
    }

    async fn bind(&self, name: &str) -> Result<()> {
        let target = json!({ "apiVersion": "v1", "kind": "Node", "name": NODE });
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name }, "target": target,
        });
        self.api.create(&self.path("api/v1", &format!("pods/{name}/binding")), &binding).await.map(drop)
    }

    fn begin(&mut self, uid: &str, pod: &Value) -> Result<()> {
        let dir = self.dir.join(uid);
        fs::create_dir_all(&dir).context("make a folder for a pod")?;
        let view = Arc::new(Mutex::new(PodView {
            name: text(&pod["metadata"]["name"]).to_owned(),
            address: own_address(),
            ready: false,
            restarts: 0,
            process: None,
            problem: None,
            log: dir.join(format!("{}.log", text(&pod["spec"]["containers"][0]["name"]))),
        }));
        let runner = PodRunner {
            api: self.api.clone(),
            images: Arc::clone(&self.images),
            tokens: self.tokens.clone(),
            hosts: Arc::clone(&self.hosts),
            dir,
            pod: pod.clone(),
            view: Arc::clone(&view),
            http: self.http.clone(),
        };
        let (stop, asked) = watch::channel(None);
        self.runners.spawn(runner.run(asked));
        self.stops.insert(uid.to_owned(), stop);
        self.shared.pods.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), view);
        Ok(())
    }
}

/// One of sixteen million loopback addresses, so that nobody else has it.
fn own_address() -> Ipv4Addr {
    let bits = u32::from_str_radix(&random_hex()[..6], 16).unwrap_or(1);
    // 127.0.0.0/16 is left to everybody else; the last byte is never 0 or 255.
    let [_, second, third, fourth] = bits.to_be_bytes();
    Ipv4Addr::new(127, second.max(1), third, fourth.clamp(1, 254))
}

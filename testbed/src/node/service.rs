//! The Services of a namespace: each has an address, where connections go on to a ready pod, as kube-proxy does it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    container::{port, text},
    own_address,
};

/// Where connections to a Service's port may go.
type Backends = Arc<Mutex<Vec<(Ipv4Addr, u16)>>>;

struct Service {
    address: Ipv4Addr,
    backends: BTreeMap<u16, Backends>,
    _listeners: JoinSet<()>,
}

#[derive(Default)]
pub(super) struct Services {
    known: BTreeMap<String, Service>,
}

impl Services {
    /// Follows what there is.
    pub(super) async fn follow(&mut self, services: &[Value], pods: &[Value]) -> Result<()> {
        let name = |service: &Value| text(&service["metadata"]["name"]).to_owned();
        self.known.retain(|known, _| services.iter().any(|service| name(service) == *known));
        for service in services.iter().filter(|service| service["spec"]["selector"].is_object()) {
            let known = match self.known.remove(&name(service)) {
                Some(known) => known,
                None => Service::listen(service).await?,
            };
            known.lead_to(service, pods);
            self.known.insert(name(service), known);
        }
        Ok(())
    }

    /// The lines of `/etc/hosts` with every name that a Service has.
    pub(super) fn hosts(&self, namespace: &str) -> String {
        let mut hosts = String::from("127.0.0.1 kubernetes.default kubernetes.default.svc\n");
        for (name, Service { address, .. }) in &self.known {
            let long = format!("{name}.{namespace}");
            // Writing to a string does not fail.
            let _ = writeln!(hosts, "{address} {name} {long} {long}.svc {long}.svc.cluster.local");
        }
        hosts
    }
}

impl Service {
    async fn listen(service: &Value) -> Result<Self> {
        let address = own_address();
        let (mut backends, mut listeners) = (BTreeMap::new(), JoinSet::new());
        for declared in service["spec"]["ports"].as_array().into_iter().flatten() {
            let number = port(&declared["port"], &[])?;
            let listener = TcpListener::bind((address, number)).await.context("listen for a Service")?;
            let to = Backends::default();
            listeners.spawn(serve(listener, Arc::clone(&to)));
            backends.insert(number, to);
        }
        Ok(Self { address, backends, _listeners: listeners })
    }

    fn lead_to(&self, service: &Value, pods: &[Value]) {
        let spec = &service["spec"];
        for declared in spec["ports"].as_array().into_iter().flatten() {
            let Some(backends) = port(&declared["port"], &[]).ok().and_then(|port| self.backends.get(&port))
            else {
                continue;
            };
            let ready = pods.iter().filter(|pod| selects(&spec["selector"], pod) && is_ready(pod));
            let found = ready.filter_map(|pod| {
                let containers = pod["spec"]["containers"].as_array()?;
                let target = port(&declared["targetPort"], containers).ok()?;
                Some((text(&pod["status"]["podIP"]).parse().ok()?, target))
            });
            *backends.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
        }
    }
}

fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector.as_object().is_some_and(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

async fn serve(listener: TcpListener, backends: Backends) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let backend = backends.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
        connections.spawn(async move {
            // Without a ready pod the connection ends.
            if let Some(backend) = backend
                && let Ok(mut server) = TcpStream::connect(backend).await
            {
                // Either end may go at any time.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

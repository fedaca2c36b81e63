//! Follows the shared connections, and the namespaces that cluster-wide ones select.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use tokio::sync::Notify;
use tracing::warn;

use crate::controller::api::connection::connections;
use crate::controller::shared::SharedConnections;
use dlq_crd::ConnectionKind;
use dlq_policy::ConnectionName;

/// What is watched of one kind, in one namespace or in all.
struct Followed {
    kind: ConnectionKind,
    scope: Option<String>,
    /// Those that a list has shown so far.
    listed: Option<HashSet<ConnectionName>>,
    is_first: bool,
}

/// The watches of connections.
pub(super) struct Follow {
    client: kube::Client,
    kinds: Vec<(Followed, Api<DynamicObject>)>,
    config: watcher::Config,
}

impl Follow {
    /// Of these namespaces, or of all; cluster-wide ones only where the operator is to use them.
    pub(super) fn new(
        client: kube::Client,
        scopes: &[Option<String>],
        cluster_wide: bool,
        timeout: Option<u32>,
    ) -> Self {
        let of = |kind, scope: Option<String>| {
            let api = connections(&client, kind, scope.as_deref());
            (Followed { kind, scope, listed: None, is_first: true }, api)
        };
        let own = scopes.iter().map(|scope| of(ConnectionKind::DlqConnection, scope.clone()));
        let cluster_wide = cluster_wide.then(|| of(ConnectionKind::ClusterDlqConnection, None));
        let kinds = own.chain(cluster_wide).collect();
        let config = watcher::Config { timeout, ..watcher::Config::default() };
        Self { client, kinds, config }
    }

    /// How many first lists are to come.
    pub(super) fn lists(&self) -> usize {
        self.kinds.len()
    }

    /// Follows them until this is dropped.
    pub(super) async fn run(self, shared: Arc<SharedConnections>) {
        let Self { client, kinds, config } = self;
        let has_cluster_wide = Arc::new(Notify::new());
        let awaited = Arc::new(AtomicBool::new(false));
        if kinds.iter().all(|(followed, _)| followed.kind != ConnectionKind::ClusterDlqConnection) {
            let why = "this operator uses none (--cluster-connections=off); ask its owner";
            shared.unavailable(ConnectionKind::ClusterDlqConnection, None, why.to_owned());
        }
        let follows = join_all(kinds.into_iter().map(|(followed, api)| {
            let events = watcher(api, config.clone());
            followed.follow(Arc::clone(&shared), events, Arc::clone(&has_cluster_wide), Arc::clone(&awaited))
        }));
        let begin = Arc::clone(&has_cluster_wide);
        let namespaces = namespaces(Arc::clone(&shared), client, config, begin, Arc::clone(&awaited));
        tokio::join!(follows, namespaces);
    }
}

impl Followed {
    async fn follow(
        mut self,
        shared: Arc<SharedConnections>,
        events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
        has_cluster_wide: Arc<Notify>,
        awaited: Arc<AtomicBool>,
    ) {
        let mut events = pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => self.listed = Some(HashSet::new()),
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    let object = shared.read(self.kind, object);
                    if let Some(listed) = &mut self.listed {
                        listed.insert(object.name.clone());
                    }
                    shared.shown(object);
                }
                Ok(Event::Delete(object)) => {
                    let ObjectMeta { name, namespace, .. } = object.metadata;
                    let namespace = namespace.unwrap_or_default();
                    shared.gone(&[ConnectionName::new(self.kind, &namespace, name.unwrap_or_default())]);
                }
                Ok(Event::InitDone) => {
                    let listed = self.listed.take().unwrap_or_default();
                    shared.available(self.kind, self.scope.clone());
                    shared.gone(&shared.others(self.kind, self.scope.as_deref(), &listed));
                    let is_cluster_wide = self.kind == ConnectionKind::ClusterDlqConnection;
                    if is_cluster_wide && !listed.is_empty() {
                        // What they are for is known with the namespaces, whose list counts for this one then.
                        if std::mem::take(&mut self.is_first) {
                            awaited.store(true, Ordering::Relaxed);
                        }
                    } else {
                        self.came(&shared);
                    }
                }
                Err(error) => {
                    if let Some(why) = unavailable(&error, self.kind.as_str()) {
                        if shared.unavailable(self.kind, self.scope.clone(), why.clone()) {
                            warn!(kind = self.kind.as_str(), why, "shared connections cannot be used");
                        }
                        self.came(&shared);
                    } else {
                        warn!(kind = self.kind.as_str(), %error, "the watch of shared connections failed");
                    }
                }
            }
            if self.kind == ConnectionKind::ClusterDlqConnection && shared.has_any(self.kind) {
                has_cluster_wide.notify_one();
            }
        }
    }

    /// Tells, once, that the first list came.
    fn came(&mut self, shared: &SharedConnections) {
        if std::mem::take(&mut self.is_first) {
            shared.list_came();
        }
    }
}

/// Why nothing is known of a kind, where that lasts until somebody acts.
fn unavailable(error: &watcher::Error, kind: &str) -> Option<String> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return None;
    };
    match status.code {
        404 => Some(format!("the definition of {kind} is not installed; apply the operator's crds")),
        401 | 403 => {
            Some(format!("the operator may not list {kind}; give its ServiceAccount \"list\" and \"watch\""))
        }
        _ => None,
    }
}

/// Follows the namespaces' labels, once there is a connection that selects by them.
async fn namespaces(
    shared: Arc<SharedConnections>,
    client: kube::Client,
    config: watcher::Config,
    has_cluster_wide: Arc<Notify>,
    awaited: Arc<AtomicBool>,
) {
    has_cluster_wide.notified().await;
    let mut events =
        pin!(watcher(Api::<PartialObjectMeta<Namespace>>::all(client), config).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = Some(HashMap::new()),
            Ok(Event::InitApply(namespace)) => {
                let ObjectMeta { name, labels, .. } = namespace.metadata;
                if let Some(listed) = &mut listed {
                    listed.insert(name.unwrap_or_default(), labels.unwrap_or_default());
                }
            }
            Ok(Event::InitDone) => {
                shared.namespaces(&listed.take().unwrap_or_default());
                if awaited.swap(false, Ordering::Relaxed) {
                    shared.list_came();
                }
            }
            Ok(Event::Apply(namespace)) => {
                let ObjectMeta { name, labels, .. } = namespace.metadata;
                shared.namespace(name.unwrap_or_default(), Some(labels.unwrap_or_default()));
            }
            Ok(Event::Delete(namespace)) => {
                shared.namespace(namespace.metadata.name.unwrap_or_default(), None);
            }
            Err(error) => {
                warn!(%error, "the watch of namespaces failed; cluster-wide connections cannot be used without");
                if unavailable(&error, &Namespace::kind(&())).is_some()
                    && awaited.swap(false, Ordering::Relaxed)
                {
                    shared.list_came();
                }
            }
        }
    }
}

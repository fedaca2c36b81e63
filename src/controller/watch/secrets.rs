//! Watches the metadata of Secrets where the operator may, so that policies that wait for one get a turn at once. No
//! Secret's data is asked for here, and nothing of one is kept.

use std::future::ready;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tracing::warn;

use crate::controller::context::Context;
use crate::controller::names::PolicyRef;

/// The policies of one namespace, or of all, whose Secret changed while they waited for it.
pub(crate) fn changed(
    scope: Option<&str>,
    config: watcher::Config,
    context: Arc<Context>,
) -> BoxStream<'static, PolicyRef> {
    if !context.watch_secrets {
        return stream::pending().boxed();
    }
    let client = context.client.clone();
    let api: Api<PartialObjectMeta<Secret>> = match scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    watcher(api, config)
        .default_backoff()
        .filter_map(|event| {
            ready(match event {
                Ok(Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret)) => {
                    Some(secret.metadata)
                }
                Ok(Event::Init | Event::InitDone) => None,
                Err(error) => {
                    warn!(%error, "the watch of Secrets failed; policies that wait for one look once a minute");
                    None
                }
            })
        })
        .flat_map(move |secret| {
            let (namespace, name) = (secret.namespace.unwrap_or_default(), secret.name.unwrap_or_default());
            let waiting = context.memory.secret_changed(&namespace, &name);
            if !waiting.is_empty() {
                context.connections.forget(&namespace, &name);
            }
            stream::iter(waiting)
        })
        .boxed()
}

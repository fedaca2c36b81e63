//! Starts the watches and the controllers, and ends them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, ready};
use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube::runtime::controller::{self, Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connections::Connections;
use super::context::{Clock, Context, Memory, Slots};
use super::error::{Error, error_policy};
use super::events::Events;
use super::execute::{release, release_all};
use super::head::PolicyHead;
use super::persist::StatusWriter;
use super::reconcile::reconcile;
use crate::config::Config;
use crate::upstash::client::Transport;

/// How many policies are read at once.
const READS: usize = 32;
/// How long running looks may take to end once the process is to stop: a call's grace and the writes after it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks after the policies until `stop`. `on_filled` is called once every watch has seen all its policies.
pub async fn run(
    client: kube::Client,
    transport: Transport,
    config: Config,
    clock: Clock,
    on_filled: impl FnOnce() + Send + 'static,
    stop: CancellationToken,
) {
    let holder = format!("{}/{:04x}", config.pod_name, fastrand::u16(..));
    info!(holder, namespaces = ?config.namespaces, selector = config.selector, "looking after policies");
    let apis: Vec<Api<PolicyHead>> = if config.namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        config.namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let watcher_config = watcher::Config { label_selector: config.selector, ..watcher::Config::default() };
    let context = Arc::new(Context {
        status: StatusWriter::new(client.clone()),
        events: Events::new(client.clone(), &config.pod_name),
        connections: Connections::new(client.clone(), transport, config.default_connection),
        client,
        permissions: config.permissions,
        clock,
        holder,
        retry_limit: config.retry_limit,
        checkpoint_interval: config.checkpoint_interval,
        audit: config.audit,
        stop: stop.clone(),
        slots: Slots::new(config.max_concurrent_runs, config.max_runs_per_connection),
        reads: Semaphore::new(READS),
        memory: Memory::default(),
    });
    let (filled, mut cache) = watch::channel(0_usize);
    let namespaces = apis.len();
    tokio::spawn(async move {
        if cache.wait_for(|filled| *filled >= namespaces).await.is_ok() {
            on_filled();
        }
    });
    let controllers = join_all(
        apis.into_iter()
            .map(|api| control(api, watcher_config.clone(), Arc::clone(&context), filled.clone())),
    );
    tokio::select! {
        _ = controllers => {}
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_TIMEOUT).await } => {
            warn!("some work did not end in time");
        }
    }
    release_all(&context).await;
}

/// Watches and looks after the policies of one namespace, or of all.
async fn control(
    api: Api<PolicyHead>,
    config: watcher::Config,
    context: Arc<Context>,
    filled: watch::Sender<usize>,
) {
    let (heads, writer) = reflector::store::<PolicyHead>();
    let (known, looking) = (heads.clone(), heads.clone());
    let stop = context.stop.clone();
    let waking = Arc::clone(&context);
    let mut is_filled = false;
    let triggers = watcher(api, config)
        .default_backoff()
        .modify(move |head| {
            let before = known.get(&ObjectRef::from_obj(head)).map(|before| before.key());
            head.note_news(before.as_ref());
        })
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(Event::Apply(head) | Event::InitApply(head)) => {
                waking.memory.wake(&ObjectRef::from_obj(head));
            }
            Ok(Event::Delete(head)) => {
                let policy = ObjectRef::from_obj(head);
                waking.memory.wake(&policy);
                // Nobody looks at it again, here at least: its labels may have changed.
                if let Some(session) = waking.memory.take_session(&policy) {
                    let context = Arc::clone(&waking);
                    tokio::spawn(async move { release(&context, &policy, session).await });
                }
            }
            // The store's own signal reaches only one of several who wait for it.
            Ok(Event::InitDone) if !is_filled => {
                is_filled = true;
                filled.send_modify(|count| *count += 1);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => warn!(%error, "the watch of policies failed; is the definition installed?"),
        })
        .applied_objects()
        .try_filter(|head| ready(head.is_news()));
    Controller::for_stream(triggers, heads)
        .with_config(ControllerConfig::default())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(move |head, context| reconcile(head, context, looking.clone()), error_policy, context)
        .for_each(async |outcome: Outcome| {
            if let Err(error) = outcome {
                // Reported where it happened; what is left is an object that went in the meantime.
                debug!(%error, "look failed");
            }
        })
        .await;
}

type Outcome = Result<(ObjectRef<PolicyHead>, Action), controller::Error<Error, watcher::Error>>;

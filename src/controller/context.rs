//! What all reconciles share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::controller::api::persist::StatusWriter;
use crate::controller::budgets::Budgets;
use crate::controller::connections::Connections;
use crate::controller::looks::Looks;
use crate::controller::memory::Memory;
use crate::controller::metrics::Metrics;
use crate::controller::names::Clock;
use crate::controller::shared::SharedConnections;
use crate::controller::slots::Slots;
use crate::controller::slots::rights::Rights;
use crate::controller::tell::events::Events;
use crate::controller::watched::in_hand::InHand;
use crate::runtime::leadership::Leadership;
use dlq_policy::Permissions;
use dlq_policy::attempt::Settings;

/// What all reconciles share.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) status: StatusWriter,
    pub(crate) events: Arc<Events>,
    pub(crate) connections: Connections,
    pub(crate) shared: Arc<SharedConnections>,
    pub(crate) budgets: Budgets,
    pub(crate) looks: Looks,
    pub(crate) permissions: Permissions,
    pub(crate) clock: Clock,
    pub(crate) leadership: Leadership,
    pub(crate) settings: Arc<Settings>,
    /// Whether the metadata of Secrets is watched.
    pub(crate) watch_secrets: bool,
    pub(crate) audit: bool,
    pub(crate) stop: CancellationToken,
    pub(crate) slots: Slots,
    pub(crate) rights: Arc<Rights>,
    pub(crate) memory: Memory,
    pub(crate) in_hand: InHand,
    pub(crate) metrics: Arc<Metrics>,
}

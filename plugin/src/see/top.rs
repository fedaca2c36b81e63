//! `top`: the Upstash accounts that policies use, the busiest first.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dlq_crd::{ConnectionKind, ConnectionStatus, WaitingReason};
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::output::{self, Output};
use super::words::{ahead, number};
use crate::clock;
use crate::cluster::{Cluster, ClusterArgs, Scope, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Cell, Look, Paint, Table};

/// `kubectl dlq top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// In which form
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints the accounts.
pub async fn top(args: &TopArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let scope =
        if args.all_namespaces { Scope::All } else { Scope::Namespace(cluster.namespace().to_owned()) };
    let policies = cluster.policies(&scope).await?;
    // Not everybody may see these. What the policies say stands without them.
    let mut connections = cluster.connections(&scope).await.unwrap_or_default();
    connections.extend(cluster.cluster_connections().await.unwrap_or_default());
    let accounts = accounts(&policies, &connections);
    if args.output == Output::Name {
        terminal::print(&accounts.iter().map(|account| account.name.clone() + "\n").collect::<String>())?;
    } else if let Some(text) = output::document(
        &json!({ "items": accounts.iter().map(Account::json).collect::<Vec<_>>() }),
        args.output,
    )? {
        terminal::print(&text)?;
    } else if accounts.is_empty() {
        terminal::tell("No account is in use. kubectl dlq top -A shows those of all namespaces.\n")?;
    } else {
        terminal::print(&render(&accounts, args.output == Output::Wide, clock::now(), Look::of_output()))?;
    }
    Ok(Outcome::Done)
}

/// An account, and what its policies do.
#[derive(Clone, Debug, Default)]
pub struct Account {
    name: String,
    policies: i64,
    running: i64,
    waiting: i64,
    /// How many runs wait because Upstash asked for it, and until when.
    throttled: i64,
    throttled_until: Option<Timestamp>,
    entries_per_second: Option<i64>,
    backlog: Option<i64>,
    /// There may be more.
    at_least: bool,
    entries_today: Option<i64>,
    entries_per_day: Option<i64>,
    /// Of a shared connection: whether its token works.
    ready: Option<bool>,
    reason: Option<String>,
}

impl Account {
    fn json(&self) -> Value {
        json!({
            "name": self.name, "policies": self.policies, "running": self.running, "waiting": self.waiting,
            "throttled": self.throttled, "throttledUntil": self.throttled_until, "entriesPerSecond": self.entries_per_second,
            "backlog": self.backlog, "backlogAtLeast": self.at_least, "entriesToday": self.entries_today,
            "maxEntriesPerDay": self.entries_per_day, "ready": self.ready, "reason": self.reason,
        })
    }
}

/// The accounts of these policies and connections, the busiest first.
pub fn accounts(policies: &[Stored], connections: &[DynamicObject]) -> Vec<Account> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    // Policies with equal filters share a look: what it counted is there once.
    let mut counted = BTreeSet::new();
    for connection in connections {
        let account = shared(connection);
        accounts.insert(account.name.clone(), account);
    }
    for policy in policies {
        let name = name_of(policy);
        let account = accounts.entry(name.clone()).or_insert_with(|| Account { name, ..Account::default() });
        account.policies += 1;
        add_run(account, policy);
        if let Some(backlog) = &policy.status().backlog {
            let look = if backlog.spec_hash.is_empty() {
                policy.uid().unwrap_or_default()
            } else {
                &backlog.spec_hash
            };
            if counted.insert((account.name.clone(), look.to_owned())) {
                account.backlog = Some(account.backlog.unwrap_or(0).saturating_add(backlog.entries));
                account.at_least |= backlog.at_least;
            }
        }
    }
    let mut accounts: Vec<_> = accounts.into_values().collect();
    accounts.sort_by(|a, b| {
        let busy = |account: &Account| (account.running, account.backlog.unwrap_or(0), account.policies);
        busy(b).cmp(&busy(a)).then_with(|| a.name.cmp(&b.name))
    });
    accounts
}

fn add_run(account: &mut Account, policy: &Stored) {
    let Some(run) = &policy.status().current_run else { return };
    if run.approval_id.is_some() && run.approved_time.is_none() {
        account.waiting += 1;
        return;
    }
    account.running += 1;
    match run.waiting_reason {
        Some(WaitingReason::Throttled) => {
            account.throttled += 1;
            let until = run.waiting_until.map(dlq_crd::MilliTime::timestamp);
            account.throttled_until = account.throttled_until.max(until);
        }
        Some(WaitingReason::Queued) => account.waiting += 1,
        Some(WaitingReason::Retrying) | None => {}
    }
}

/// What a policy calls its account.
fn name_of(policy: &Stored) -> String {
    let Some(spec) = policy.spec() else { return "not known here".to_owned() };
    let Some(connection) = &spec.connection else { return "the operator's own".to_owned() };
    match (&connection.name, &connection.token_secret_ref) {
        (Some(name), _) => match connection.kind.unwrap_or_default() {
            ConnectionKind::ClusterDlqConnection => format!("ClusterDlqConnection {name}"),
            ConnectionKind::DlqConnection => format!("DlqConnection {}/{name}", policy.namespace()),
        },
        (None, Some(secret)) => {
            let url = connection.url.as_ref().map_or_else(String::new, |url| format!(" at {url}"));
            format!("Secret {}/{}{url}", policy.namespace(), secret.name)
        }
        (None, None) => "the operator's own".to_owned(),
    }
}

/// A connection that policies share, read leniently: a newer version may have written it.
fn shared(connection: &DynamicObject) -> Account {
    let name = connection.metadata.name.as_deref().unwrap_or_default();
    let name = match &connection.metadata.namespace {
        Some(namespace) => format!("DlqConnection {namespace}/{name}"),
        None => format!("ClusterDlqConnection {name}"),
    };
    let status: ConnectionStatus =
        serde_json::from_value(connection.data["status"].clone()).unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let limits = &connection.data["spec"]["limits"];
    Account {
        name,
        entries_per_second: limits["entriesPerSecond"].as_i64(),
        entries_per_day: limits["maxEntriesPerDay"].as_i64(),
        entries_today: status.entries_today,
        ready: ready.map(|ready| ready.status == "True"),
        reason: ready.map(|ready| ready.reason.clone()),
        ..Account::default()
    }
}

/// The accounts as a table.
pub fn render(accounts: &[Account], is_wide: bool, now: Timestamp, look: Look) -> String {
    let mut table = Table::new().prose("ACCOUNT").number("POLICIES").number("RUNNING").number("WAITING");
    table = table.whole("RATE LIMIT").number("BACKLOG");
    if is_wide {
        table = table.number("TODAY").whole("READY");
    }
    for account in accounts {
        table.row(row(account, is_wide, now));
    }
    table.render(look)
}

fn row(account: &Account, is_wide: bool, now: Timestamp) -> Vec<Cell> {
    let absent = || "-".to_owned();
    let backlog = account
        .backlog
        .map(|entries| format!("{}{}", number(entries), if account.at_least { "+" } else { "" }));
    let paint = if account.ready == Some(false) { Paint::Bad } else { Paint::Strong };
    let mut cells = vec![
        Cell::new(paint, &account.name),
        number(account.policies).into(),
        Cell::new(if account.running > 0 { Paint::Busy } else { Paint::Plain }, number(account.running)),
        number(account.waiting).into(),
        rate_limit(account, now),
        backlog.unwrap_or_else(absent).into(),
    ];
    if is_wide {
        let today = account.entries_today.map_or_else(absent, number);
        let today =
            account.entries_per_day.map_or(today.clone(), |most| format!("{today} of {}", number(most)));
        cells.extend([today.into(), account.reason.clone().unwrap_or_else(absent).into()]);
    }
    cells
}

fn rate_limit(account: &Account, now: Timestamp) -> Cell {
    let limit = account.entries_per_second.map(|rate| format!("{}/s", number(rate)));
    if account.throttled == 0 {
        return limit.unwrap_or_else(|| "-".to_owned()).into();
    }
    let until = account.throttled_until.map(|until| format!(", continues {}", ahead(until, now)));
    let throttled = format!("throttled{}", until.unwrap_or_default());
    Cell::new(Paint::Warning, limit.map_or(throttled.clone(), |limit| format!("{limit}, {throttled}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, now};

    #[test]
    fn a_look_that_policies_share_is_counted_once() {
        let with = |name: &str, look: &str, run: Value| {
            let spec = json!({
                "action": "resume", "filters": { "all": true },
                "connection": { "kind": "ClusterDlqConnection", "name": "production" },
            });
            let backlog = json!({ "observedTime": "2026-11-20T11:56:00Z", "entries": 100, "specHash": look });
            sample::policy(name, spec, json!({ "backlog": backlog, "currentRun": run }))
        };
        let throttled = json!({
            "id": "1", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T11:59:00.000Z",
            "waitingReason": "Throttled", "waitingUntil": "2026-11-20T12:00:20.000Z",
        });
        let policies = [with("a", "x", throttled), with("b", "x", Value::Null), with("c", "y", Value::Null)];
        let accounts = accounts(&policies, &[sample::shared_connection()]);
        let [account] = accounts.as_slice() else { panic!("{accounts:#?}") };
        assert_eq!((account.policies, account.running, account.backlog), (3, 1, Some(200)));
        let table = render(&accounts, false, now(), Look { width: None, colour: false });
        assert!(table.contains("50/s, throttled, continues in 20s"), "{table}");
    }
}

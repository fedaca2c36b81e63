//! The policy that a command is about, as one run of it: what starts runs, and what holds them, is left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use kube::api::DynamicObject;
use serde_json::Value;
use url::Url;

use crate::cluster::{Cluster, ClusterArgs};
use crate::lint::{self, Finding};
use crate::manifest::{self, Document};
use crate::outcome::Problem;
use dlq_crd::{
    ClusterDlqConnectionSpec, Connection, ConnectionKind, ConnectionUrlText, DlqConnectionSpec,
    DlqPolicySpec, Reason,
};
use dlq_policy::spec::is_dns_name;
use dlq_policy::spec::permissions::base_url;
use dlq_policy::spec::validate::Source;
use dlq_policy::{
    ConnectionName, ConnectionRef, Invalid, Permissions, Policy, SharedConnection, Work, validate,
};
use dlq_upstash::error::visible;

/// Where an object without a namespace is, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// Which policy a command is about.
#[derive(Args, Debug)]
pub struct Which {
    /// A policy in the cluster; with -f, the one of that name in the file
    #[arg(value_name = "NAME", required_unless_present = "file")]
    name: Option<String>,

    /// A file with a policy, in place of one in the cluster; `-` for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A policy as one run of it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `metadata.namespace`, else `default`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Without what starts runs or holds them.
    pub spec: DlqPolicySpec,

    /// What of the policy makes no difference here, and why.
    pub notes: Vec<String>,
    /// The connection that it names, where it was read.
    shared: Option<Shared>,
}

/// A connection that policies share.
#[derive(Clone, Debug)]
enum Shared {
    Namespace(ConnectionName, Box<DlqConnectionSpec>),
    Cluster(ConnectionName, Box<ClusterDlqConnectionSpec>),
}

impl Shared {
    fn of(name: &ConnectionName, object: &Value) -> Result<Self, Problem> {
        let spec = object["spec"].clone();
        let read = match name.kind {
            ConnectionKind::DlqConnection => {
                serde_json::from_value(spec).map(|spec| Self::Namespace(name.clone(), spec))
            }
            ConnectionKind::ClusterDlqConnection => {
                serde_json::from_value(spec).map(|spec| Self::Cluster(name.clone(), spec))
            }
        };
        read.map_err(|error| {
            Problem::Failed(format!("{name}: spec cannot be read: {}", visible(&error.to_string())))
        })
    }

    fn url(&self) -> Option<&ConnectionUrlText> {
        match self {
            Self::Namespace(_, spec) => spec.url.as_ref(),
            Self::Cluster(_, spec) => spec.url.as_ref(),
        }
    }

    fn connection(&self, permissions: &Permissions) -> Result<SharedConnection, Invalid> {
        match self {
            Self::Namespace(name, spec) => SharedConnection::of_namespace(name.clone(), spec, permissions),
            Self::Cluster(name, spec) => SharedConnection::of_cluster(name.clone(), spec, permissions),
        }
    }
}

/// An object of the cluster as a manifest has it.
fn json(object: &DynamicObject) -> Result<Value, Problem> {
    serde_json::to_value(object)
        .map_err(|error| Problem::Failed(format!("the object cannot be read: {error}")))
}

/// The connection that a policy names, if it stands beside it.
fn shared_in(others: &[Document], policy: &Value) -> Result<Option<Shared>, Problem> {
    let Some(name) = connection_name(policy) else { return Ok(None) };
    let namespace = |document: &Document| match document.namespace() {
        "" => DEFAULT_NAMESPACE.to_owned(),
        namespace => namespace.to_owned(),
    };
    let is_it = |document: &&Document| {
        let is_there =
            name.kind == ConnectionKind::ClusterDlqConnection || namespace(document) == name.namespace;
        document.kind() == name.kind.as_str() && document.name() == name.name && is_there
    };
    others.iter().find(is_it).map(|document| Shared::of(&name, &document.value)).transpose()
}

/// Which connection a policy names.
fn connection_name(policy: &Value) -> Option<ConnectionName> {
    let connection: Connection = serde_json::from_value(policy["spec"]["connection"].clone()).ok()?;
    let namespace = policy["metadata"]["namespace"].as_str().unwrap_or(DEFAULT_NAMESPACE);
    ConnectionName::of(&connection, namespace)
}

impl Which {
    /// Finds it.
    ///
    /// # Errors
    /// It cannot be read: what is wrong, where, and what to do.
    pub async fn find(&self) -> Result<Subject, Problem> {
        match (&self.file, &self.name) {
            (Some(file), name) => {
                self.cluster.refuse_beside_a_file()?;
                Subject::of_file(manifest::read(file)?, name.as_deref(), &file.display().to_string())
            }
            (None, Some(name)) => {
                let cluster = Cluster::connect(&self.cluster).await?;
                let object = json(cluster.policy(name).await?.object())?;
                let shared = match connection_name(&object) {
                    Some(name) => Some(Shared::of(&name, &json(&cluster.connection(&name).await?)?)?),
                    None => None,
                };
                Subject::of_object(&object, "the cluster", shared)
            }
            (None, None) => Err(Problem::Usage("name a policy, or a file with -f".to_owned())),
        }
    }
}

impl Subject {
    /// The only policy among these documents, or the one of this name.
    ///
    /// # Errors
    /// There is none, or several, or it cannot be read.
    pub fn of_file(documents: Vec<Document>, name: Option<&str>, file: &str) -> Result<Self, Problem> {
        let (policies, others): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|document| document.value["kind"] == "DlqPolicy");
        let is_meant =
            |document: &&Document| name.is_none_or(|name| document.value["metadata"]["name"] == name);
        let mut found = policies.iter().filter(is_meant);
        match (found.next(), found.next(), name) {
            (Some(one), None, _) => {
                // A filter that is misspelt would select more than is meant.
                if let Some(finding) = lint::as_the_api_server(one).into_iter().next() {
                    let Finding { source, line, field, message, .. } = finding;
                    return Err(Problem::Failed(visible(&format!("{source}:{line}: {field}: {message}"))));
                }
                let shared = shared_in(&others, &one.value)?;
                Self::of_object(&one.value, &one.source, shared)
            }
            (None, _, None) => Err(Problem::Failed(format!("{file} holds no DlqPolicy"))),
            (None, _, Some(name)) => Err(Problem::Failed(format!("{file} holds no DlqPolicy {name}"))),
            (Some(_), Some(_), _) => {
                let names: Vec<_> =
                    policies.iter().map(|it| it.value["metadata"]["name"].as_str().unwrap_or("?")).collect();
                let names = visible(&names.join(", "));
                Err(Problem::Failed(format!(
                    "{file} holds {} policies ({names}); name one of them beside -f",
                    policies.len()
                )))
            }
        }
    }

    fn of_object(object: &Value, source: &str, shared: Option<Shared>) -> Result<Self, Problem> {
        let problem = |text: String| Problem::Failed(format!("{source}: {}", visible(&text)));
        if object["apiVersion"] != "dlq-operator.dev/v1alpha1" {
            let version = object["apiVersion"].as_str().unwrap_or("none");
            return Err(problem(format!(
                "apiVersion is {version}, and this program reads dlq-operator.dev/v1alpha1"
            )));
        }
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let name = text("name").unwrap_or_default();
        if !is_dns_name(&name) {
            return Err(problem(
                "metadata.name is missing, or is no name: lower-case letters, digits, - and . only"
                    .to_owned(),
            ));
        }
        // Fields of a newer definition are left out.
        let namespace = text("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        if !is_dns_name(&namespace) || namespace.contains('.') {
            let what = "metadata.namespace is no name of a namespace: lower-case letters, digits and - only";
            return Err(problem(what.to_owned()));
        }
        let spec: Result<DlqPolicySpec, _> = serde_path_to_error::deserialize(&object["spec"]);
        let spec = spec.map_err(|error| problem(format!("spec.{}: {}", error.path(), error.inner())))?;
        let (spec, notes) = once(spec, shared.is_some());
        Ok(Self { namespace, name, spec, notes, shared })
    }

    /// What it means with these annotations.
    pub fn policy(&self, annotations: &BTreeMap<String, String>, permissions: &Permissions) -> Policy {
        let shared = self.shared.as_ref().map(|shared| shared.connection(permissions));
        let source = Source {
            namespace: &self.namespace,
            name: &self.name,
            generation: 1,
            created: None,
            annotations,
            spec: Ok(&self.spec),
            shared: shared.as_ref().map(Result::as_ref),
        };
        validate(&source, permissions)
    }

    /// What a run of it does, and the base URL that its token would be sent to.
    ///
    /// # Errors
    /// It cannot run, or names a URL that a token may not be sent to.
    pub fn work(&self, permissions: &Permissions) -> Result<(Work, Url), Problem> {
        let work = self.policy(&BTreeMap::new(), permissions).work;
        let work = work.map_err(|invalid| self.refusal(&invalid, permissions))?;
        let url = match &work.connection {
            ConnectionRef::Default => permissions.default_url.clone(),
            ConnectionRef::Secret { url, .. } => url.clone(),
            ConnectionRef::Missing(missing) => return Err(self.refusal(missing, permissions)),
        };
        Ok((work, url))
    }

    fn refusal(&self, invalid: &Invalid, permissions: &Permissions) -> Problem {
        let own = self.spec.connection.as_ref().and_then(|connection| connection.url.as_ref());
        let named = own.or(self.shared.as_ref().and_then(Shared::url));

        let url =
            named.and_then(|text| base_url(text.as_str()).ok()).filter(|url| !permissions.allows_url(url));
        let message = match url.filter(|_| invalid.reason == Reason::UrlNotAllowed) {
            Some(url) => {
                let url = url.as_str().trim_end_matches('/');
                format!(
                    "the connection's URL {url}: your token goes to Upstash's own URLs and QSTASH_URL only; if you trust this \
                     address with it, add --allowed-url {url}"
                )
            }
            None => invalid.message.clone(),
        };
        Problem::Failed(format!("{}: {}", self.name, visible(&message)))
    }
}

/// The spec without what starts runs or holds them, and what is to be said of the rest.
fn once(spec: DlqPolicySpec, is_read: bool) -> (DlqPolicySpec, Vec<String>) {
    let mut notes = Vec::new();
    let mut connection = spec.connection.clone();
    let shared = connection.as_ref().and_then(|it| Some((it.kind.unwrap_or_default(), it.name.clone()?)));

    if is_read {
        notes.push(
            "the connection's Secret is not read here: the token is yours, from QSTASH_TOKEN or --token-file"
                .to_owned(),
        );
    } else if let Some((kind, name)) = shared {
        notes.push(format!(
            "spec.connection names {kind} {name}, which is not read here: the token is yours, and goes to QSTASH_URL, else to \
             Upstash; the connection's limits and rules do not apply"
        ));
        connection = None;
    } else if connection.as_ref().is_some_and(|it| it.token_secret_ref.is_some()) {
        notes.push("spec.connection.tokenSecretRef is not read here: the token is yours, from QSTASH_TOKEN or --token-file".to_owned());
    }
    let spec = DlqPolicySpec {
        trigger: None,
        schedule: None,
        time_zone: None,
        jitter: None,
        starting_deadline_seconds: None,
        concurrency_policy: None,
        suspend: false,
        failure_policy: None,
        backlog: None,
        connection,
        ..spec
    };
    (spec, notes)
}

#[cfg(test)]
#[path = "subject_tests.rs"]
mod tests;

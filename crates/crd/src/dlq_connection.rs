//! `DlqConnection` and `ClusterDlqConnection`: an Upstash account that policies share, and what they may do with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::connection::{SecretKeyRef, default_secret_key};
use super::spec::Action;
use super::text::{
    ConnectionUrlText, FilterText, NamespaceText, SecretKeyText, SecretNameText, TimeZoneText, UrlPatternText,
};

/// A resource of this group with what both kinds have: the status, and the columns.
macro_rules! connection {
    ({ $($kind:tt)* } $spec:item) => {
        #[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
        #[kube(
            group = "dlq-operator.dev",
            version = "v1alpha1",
            category = "upstash",
            status = "ConnectionStatus",
            derive = "PartialEq",
            $($kind)*,
            printcolumn(
                name = "Ready",
                type_ = "string",
                json_path = ".status.conditions[?(@.type==\"Ready\")].status",
                description = "Whether the token works"
            ),
            printcolumn(
                name = "Reason",
                type_ = "string",
                json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
                description = "Why it does or does not"
            ),
            printcolumn(
                name = "Policies",
                type_ = "integer",
                json_path = ".status.policies",
                description = "How many policies name the connection"
            ),
            printcolumn(
                name = "Today",
                type_ = "integer",
                json_path = ".status.entriesToday",
                description = "How many entries were acted on at most, on the day in status.day"
            ),
            printcolumn(
                name = "Limit",
                type_ = "integer",
                json_path = ".spec.limits.maxEntriesPerDay",
                description = "How many entries may be acted on in a day",
                priority = 1
            ),
            printcolumn(
                name = "URL",
                type_ = "string",
                json_path = ".spec.url",
                description = "The base URL of the region; empty: the operator's default",
                priority = 1
            ),
            printcolumn(
                name = "Message",
                type_ = "string",
                json_path = ".status.conditions[?(@.type==\"Ready\")].message",
                description = "The state of the connection, in one sentence",
                priority = 1
            ),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
        )]
        #[serde(rename_all = "camelCase")]
        $spec
    };
}

connection! {
    {
        kind = "DlqConnection",
        plural = "dlqconnections",
        singular = "dlqconnection",
        shortname = "dlqc",
        namespaced,
        doc = "A DlqConnection is an Upstash account that the policies of its namespace share, and what they may do with it."
    }
    /// An account for the policies of one namespace, and what they may do with it. A policy that does something else is not
    /// ready, and its message names the rule.
    pub struct DlqConnectionSpec {
        /// The base URL of the region. It must be one that the operator allows. Default: the operator's `QSTASH_URL`,
        /// else `https://qstash.upstash.io`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<ConnectionUrlText>,

        /// Where the token is: a Secret in the connection's own namespace.
        pub token_secret_ref: SecretKeyRef,

        /// What the policies of this connection may do.
        #[serde(flatten)]
        pub guardrails: Guardrails,
    }
}

connection! {
    {
        kind = "ClusterDlqConnection",
        plural = "clusterdlqconnections",
        singular = "clusterdlqconnection",
        shortname = "cdlqc",
        doc = "A ClusterDlqConnection is an Upstash account that the policies of several namespaces share, and what they may do with it."
    }
    /// An account for the policies of several namespaces, and what they may do with it. A policy that does something else is
    /// not ready, and its message names the rule.
    pub struct ClusterDlqConnectionSpec {
        /// The base URL of the region. It must be one that the operator allows. Default: the operator's `QSTASH_URL`,
        /// else `https://qstash.upstash.io`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<ConnectionUrlText>,

        /// Where the token is. Only the operator reads that Secret.
        pub token_secret_ref: NamespacedSecretKeyRef,

        /// Which namespaces' policies may use the connection, by the labels of the namespaces. Never empty. Default: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "namespace_selector")]
        pub namespace_selector: Option<LabelSelector>,

        /// What the policies of this connection may do.
        #[serde(flatten)]
        pub guardrails: Guardrails,
    }
}

/// Kubernetes' own schema of a selector has no bounds, and takes one that is empty or that no API server could evaluate.
fn namespace_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [{
            "rule": "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "message": "the selector must hold matchLabels or matchExpressions, as an empty one would open the account to every namespace; remove it to open the account to none",
        }],
        "properties": {
            "matchLabels": {
                "description": "Labels that a namespace must have, with these values. At most 64.",
                "type": "object",
                "maxProperties": 64,
                "additionalProperties": { "type": "string", "maxLength": 63 },
            },
            "matchExpressions": {
                "description": "Conditions on a namespace's labels, which must all hold. At most 64.",
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "maxItems": 64,
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "values must be given with In and NotIn, and with no other operator; add values, remove them, or take another operator",
                    }],
                    "properties": {
                        "key": {
                            "description": "The label.",
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 317,
                        },
                        "operator": {
                            "description": "How the label must relate to `values`.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "The values for `In` and `NotIn`. At most 64.",
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "maxItems": 64,
                            "items": { "type": "string", "maxLength": 63 },
                        },
                    },
                },
            },
        },
    })
}

/// One key of a Secret in any namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedSecretKeyRef {
    /// The Secret's namespace.
    pub namespace: NamespaceText,

    /// The Secret's name.
    pub name: SecretNameText,

    /// The key that holds the token; one newline at its end is dropped. Default: `token`.
    #[serde(default = "default_secret_key")]
    pub key: SecretKeyText,
}

/// What the policies of a connection may do. A policy that breaks one of these is not ready, and its message names the rule.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guardrails {
    /// The actions that policies may have. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_actions: Option<Vec<Action>>,

    /// Where `overrides.failureCallback` may point, by scheme, host and port; `*` stands for a part of one host label.
    /// Default: anywhere that the operator allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_callback_urls: Option<Vec<UrlPatternText>>,

    /// The labels that policies may select by. With it a policy must have `filters.labels`, all of them among these: the
    /// connection acts on one team's workflow runs only. Default: any filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_labels: Option<Vec<FilterText>>,

    /// `true`: a policy with a schedule that resumes or restarts must have `loopProtection`.
    #[serde(default)]
    pub require_loop_protection: bool,

    /// The IANA name of the zone whose days `limits.maxEntriesPerDay` counts, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneText>,

    /// What all policies of the connection may do together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ConnectionLimits>,
}

/// What all policies of a connection may do together.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionLimits {
    /// The most entries per second that are acted on. Default: as fast as the API answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub entries_per_second: Option<i32>,

    /// How many runs may be at work at once; further ones wait in line. A run with `limits.parallelism` counts once for each
    /// call that it has under way. The operator's `--max-runs-per-connection` holds as well. Default: that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub max_concurrent_runs: Option<i32>,

    /// The most entries that are acted on in a day. A run that would exceed it ends as `LimitReached`, with the reason
    /// `BudgetSpent`. Dry runs do not count. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub max_entries_per_day: Option<i64>,

    /// As `limits.approvalAbove` of a policy; where both are set, the lower one counts. Default: what the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub approval_above: Option<i64>,
}

/// What the operator knows of a connection. Only the operator writes here.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = { "observedGeneration": -1 }, "x-kubernetes-map-type" = "atomic"))]
pub struct ConnectionStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`; `Reconciling` and `Stalled` when true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// How many policies name the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<i64>,

    /// The day that `entriesToday` speaks of, in the connection's time zone. Absent without `limits.maxEntriesPerDay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub day: Option<String>,

    /// How many entries were acted on that day at most: entries are counted in blocks before they are acted on, and what a
    /// crash or a lost answer leaves open stays counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_today: Option<i64>,

    /// When the token was last tried, by listing one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_time: Option<Time>,
}

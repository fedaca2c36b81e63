//! The dashboard's queries, as Grafana sends them.

use serde_json::Value;

/// The values of the variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) namespace: &'static str,
    pub(super) policy: &'static str,
    /// `$__rate_interval`: four scrape intervals, or the step and one, whichever is longer.
    pub(super) rate_interval: &'static str,
}

/// A query of a panel.
pub(super) struct Query {
    pub(super) panel: String,
    text: String,
}

impl Query {
    /// Whether it is about single policies.
    pub(super) fn is_of_policies(&self) -> bool {
        self.text.contains("$namespace")
    }

    pub(super) fn with(&self, choice: &Choice) -> String {
        let Choice { namespace, policy, rate_interval } = choice;
        let values = [
            ("$__rate_interval", *rate_interval),
            ("$__range", "86400s"),
            ("$namespace", namespace),
            ("$policy", policy),
        ];
        let query =
            values.into_iter().fold(self.text.clone(), |text, (name, value)| text.replace(name, value));
        assert!(!query.contains('$'), "an unknown variable: {query}");
        query
    }
}

fn dashboard() -> Value {
    let path = testbed::workspace_root().join("docs/monitoring/dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in dashboard()["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            queries.push(Query { panel: text(&panel["title"]), text: text(&target["expr"]) });
        }
    }
    queries
}

/// What fills the lists of the variables: the label, and the series that have it.
pub(super) fn lists() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let queries = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = queries.filter_map(|variable| variable["query"]["query"].as_str());
    let lists = queries.map(|query| {
        let query = query.replace("$namespace", ".*");
        let query = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
        let (series, label) = query.unwrap().rsplit_once(", ").unwrap();
        (label.to_owned(), series.to_owned())
    });
    lists.collect()
}

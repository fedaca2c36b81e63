//! `/metrics`, read as Prometheus reads it.

use std::collections::BTreeMap;

use testbed::eventually;

use crate::scene::PATIENCE;

/// What Prometheus sends.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
     text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";

/// An answer of the admin server.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

pub(crate) async fn get(url: &str, accept: &str) -> Answer {
    // Kept connections would belong to the runtime of another test.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let answer = http.get(url).header("accept", accept).send().await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    Answer { status: answer.status().as_u16(), content_type, text: answer.text().await.unwrap() }
}

/// One series with its value.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A scrape in the text format.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) series: Vec<Series>,
}

impl Scrape {
    pub(crate) async fn of(admin_url: &str) -> Self {
        let answer = get(&format!("{admin_url}/metrics"), TEXT).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let lines = answer.text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| series(line).unwrap_or_else(|| panic!("{line}"))).collect();
        Self { text: answer.text, series }
    }

    /// Scrapes until what is looked for is there. Metrics may be a moment behind the status: what the watch tells takes
    /// a while, and a count follows the write that it is about.
    pub(crate) async fn until(admin_url: &str, what: &str, wished: impl Fn(&Self) -> bool) -> Self {
        eventually(PATIENCE, what, async || {
            let scrape = Self::of(admin_url).await;
            if wished(&scrape) { Ok(scrape) } else { Err(scrape.text) }
        })
        .await
        .unwrap()
    }

    /// The series of a metric, its name without the prefix, with at least these labels.
    pub(crate) fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| {
            series.name.strip_prefix("dlq_operator_") == Some(name)
                && labels
                    .iter()
                    .all(|(label, value)| series.labels.get(*label).is_some_and(|found| found == value))
        })
    }

    /// Their sum; none when there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.select(name, labels).map(|series| series.value).reduce(|sum, value| sum + value)
    }

    /// Their sum as a count.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "counts of a test")]
        self.sum(name, labels).map(|sum| sum.round() as i64)
    }

    /// Whether any series is about this policy.
    pub(crate) fn names(&self, policy: &str) -> bool {
        self.series.iter().any(|series| series.labels.get("name").is_some_and(|name| name == policy))
    }
}

/// Reads a line such as `name{label="value"} 1`.
fn series(line: &str) -> Option<Series> {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ')?;
        return Some(Series { name: name.to_owned(), labels: BTreeMap::new(), value: value.parse().ok()? });
    };
    let (labels, value) = rest.rsplit_once("} ")?;
    let labels = labels.split("\",").map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    let labels = labels.collect::<Option<_>>()?;
    Some(Series { name: name.to_owned(), labels, value: value.parse().ok()? })
}

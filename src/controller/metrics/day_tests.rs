//! The dashboard, and its picture, over a whole day of the operator's own metrics.

mod clock;
mod connection;
mod dashboard;
mod day;
mod object;
mod process;
mod upstash;

use std::collections::BTreeSet;

use testbed::{Programs, Prometheus, PrometheusOptions, workspace_root};
use tokio::process::Command;

use self::dashboard::{Choice, lists, queries};
use super::definitions;
use crate::runtime::metrics::Kind;

/// What Grafana makes of 24 hours on a panel of some 700 pixels.
const STEP: i64 = 120;

const CHOICES: [Choice; 2] = [
    Choice { namespace: ".*", policy: ".*", rate_interval: "4m" },
    Choice { namespace: "(payments|shop)", policy: "(resume-payments|resume-orders)", rate_interval: "4m" },
];

/// Every metric that the operator defines has samples in the day.
fn check_completeness(samples: &[String]) {
    let lines = samples.iter().flat_map(|part| part.lines());
    let names: BTreeSet<_> = lines.filter_map(|line| Some(line.split_once('{')?.0)).collect();
    for metric in definitions() {
        let name = if metric.kind == Kind::Histogram {
            format!("{}_bucket", metric.name)
        } else {
            metric.name.into()
        };
        assert!(names.contains(name.as_str()), "no sample of {name}");
    }
}

/// Every query has answers, over the day and at its end, and none of them are but no numbers.
async fn check_queries(prometheus: &Prometheus) {
    let (start, end) = (clock::at(0, 0).as_second(), clock::at(24, 0).as_second());
    let queries = queries();
    assert!(queries.len() > 40, "{} queries", queries.len());
    for query in &queries {
        for choice in CHOICES.iter().take(if query.is_of_policies() { 2 } else { 1 }) {
            let text = query.with(choice);
            let about = format!("{}: {text}", query.panel);
            let series = prometheus.query_range(&text, start, end, STEP).await.unwrap();
            assert!(!series.is_empty(), "nothing all day: {about}");
            for series in series {
                let is_number = series.values.iter().any(|(_, value)| value.is_finite());
                assert!(is_number, "never a number: {:?} of {about}", series.labels);
                let is_chosen = |label: &str, choice: &str| {
                    series
                        .labels
                        .get(label)
                        .is_none_or(|value| choice == ".*" || choice.contains(value.as_str()))
                };
                assert!(
                    is_chosen("namespace", choice.namespace) && is_chosen("name", choice.policy),
                    "{about}"
                );
            }
            let samples = prometheus.query_at(&text, end).await.unwrap();
            assert!(samples.iter().any(|sample| sample.value.is_finite()), "nothing at the end: {about}");
        }
    }
    for (label, series) in lists() {
        let (from, to) = (start.to_string(), end.to_string());
        let parameters = [("match[]", series.as_str()), ("start", &from), ("end", &to)];
        let values = prometheus.get(&format!("label/{label}/values"), &parameters).await.unwrap();
        assert!(values.as_array().unwrap().len() >= 3, "{label} of {series}: {values}");
    }
}

/// The picture of the day has every panel. It is left in `target/`, for whoever wants to see it.
async fn draw_picture(prometheus: &Prometheus) {
    let root = workspace_root();
    let drawing = Command::new("python3")
        .arg("-B")
        .arg(root.join("hack/dashboard-picture/draw.py"))
        .arg(root.join("docs/monitoring/dashboard.json"))
        .args([prometheus.url(), &clock::at(24, 0).as_second().to_string()])
        .output()
        .await
        .unwrap();
    assert!(drawing.status.success(), "{}", String::from_utf8_lossy(&drawing.stderr));
    let picture = String::from_utf8(drawing.stdout).unwrap();
    for query in queries() {
        assert!(picture.contains(&format!(">{}</text>", query.panel)), "{}", query.panel);
    }
    std::fs::write(root.join("target/dashboard.svg"), picture).unwrap();
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_answers_over_a_whole_day_and_its_picture_shows_them() {
    if !Programs::PROMETHEUS.are_installed().unwrap() {
        return;
    }
    let past = day::samples();
    check_completeness(&past);
    let prometheus =
        Prometheus::start_with(PrometheusOptions { past, ..PrometheusOptions::default() }).await.unwrap();
    check_queries(&prometheus).await;
    if Programs::PICTURE.are_installed().unwrap() {
        draw_picture(&prometheus).await;
    }
}

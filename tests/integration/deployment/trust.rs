//! Upstash behind TLS: which authorities the pods trust, and through which proxy they call. The servers run in the test, outside the
//! node.

use serde_json::{Value, json};
use testbed::{Exposed, Simulator, TlsFront};

use super::release::Release;
use crate::proxy::forward_proxy::ForwardProxy;
use crate::scene::{DLQ, TOKEN};

/// What the certificates are for.
const HOST: &str = Exposed::HOST;
const BUNDLE: &str = "roots";
const KEY: &str = "private.pem";

/// A release whose simulator runs on this machine. `None` where pods cannot reach that.
async fn start(name: &str) -> Option<Release> {
    let mut release = Release::beside_others(name).await?;
    if !release.node.is_own() {
        return None;
    }
    release.simulator = Simulator::start().await.unwrap();
    release.simulator.allow(TOKEN, DLQ).await.unwrap();
    Some(release)
}

/// A server in front of the simulator, and what lets pods reach it.
async fn front(release: &Release) -> (TlsFront, Exposed) {
    let front = TlsFront::start(HOST, release.simulator.api_url()).await.unwrap();
    let exposed = release.node.expose(port(front.url())).await.unwrap();
    (front, exposed)
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// A `ConfigMap` with the authority of a server.
async fn authority(release: &Release, name: &str, server: &TlsFront) {
    let metadata = json!({ "name": name, "namespace": release.namespace.name() });
    let data = json!({ KEY: server.authority() });
    release
        .apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
        .await;
}

/// The run of a new policy that calls this server about so many new entries.
async fn run(release: &Release, name: &str, server: &TlsFront, entries: usize) -> Value {
    let home = release.namespace.name();
    release.secret(home, "upstash").await;
    release.fill(entries).await;
    let mut policy = release.policy(home, name);
    policy["spec"]["connection"]["url"] = json!(server.url());
    release.apply(&policy).await;
    release.ran(home, name, 1).await
}

#[track_caller]
fn assert_processed(run: &Value, entries: usize) {
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(entries)), "{run:#}");
}

#[tokio::test]
async fn the_bundles_authority_is_trusted_beside_those_of_the_image_and_no_other() {
    let Some(release) = start("trusted").await else { return };
    let [(public, _one), (private, _two), (stranger, _three)] =
        [front(&release).await, front(&release).await, front(&release).await];
    authority(&release, "public", &public).await;
    authority(&release, BUNDLE, &private).await;
    release
        .install(json!({
            "config": {
                "allowedUrls": [public.url(), private.url(), stranger.url()],
                "retryLimit": 0,
            },
            "caBundle": { "configMap": BUNDLE, "key": KEY },
            // In the place of the image's authorities.
            "extraVolumes": [{ "name": "public", "configMap": { "name": "public" } }],
            "extraVolumeMounts": [{ "name": "public", "mountPath": "/etc/ssl/certs" }],
        }))
        .await;
    assert_processed(&run(&release, "private", &private, 3).await, 3);
    assert_processed(&run(&release, "public", &public, 2).await, 2);
    let calls = release.simulator.ledger(DLQ).await.unwrap().calls.len();
    let refused = run(&release, "stranger", &stranger, 1).await;
    assert_eq!(
        (&refused["result"], &refused["reason"]),
        (&json!("Failed"), &json!("UpstreamUnavailable")),
        "{refused:#}"
    );
    assert_eq!(release.simulator.ledger(DLQ).await.unwrap().calls.len(), calls, "it was sent nothing");
}

#[tokio::test]
async fn calls_go_through_the_proxy_of_the_values_unless_the_host_needs_none() {
    let Some(release) = start("proxied").await else { return };
    let ((upstash, _exposed), proxy) = (front(&release).await, ForwardProxy::start().await);
    let port = port(&proxy.url(""));
    let _proxy_exposed = release.node.expose(port).await.unwrap();
    authority(&release, BUNDLE, &upstash).await;
    let mut values = json!({
        "config": { "allowedUrls": [upstash.url()] },
        "caBundle": { "configMap": BUNDLE, "key": KEY },
        "proxy": { "https": format!("http://{HOST}:{port}") },
    });
    release.install(values.clone()).await;
    assert_processed(&run(&release, "proxied", &upstash, 3).await, 3);
    let seen = proxy.seen();
    assert!(seen.starts_with(&format!("CONNECT {HOST}:")), "{seen}");
    assert_eq!(release.simulator.tokens().shown_in(&seen), None);

    values["proxy"]["noProxy"] = json!(format!("example.com,{HOST}"));
    release.upgrade(values).await;
    let seen = proxy.seen();
    assert_processed(&run(&release, "direct", &upstash, 2).await, 2);
    assert_eq!(proxy.seen(), seen, "the new pod goes around it");
}

//! The variables that name a proxy: which calls go through it, and what it sees of them.

pub(crate) mod forward_proxy;

use serde_json::{Value, json};
use testbed::{Entry, Operator, OperatorOptions, ScratchDir, Simulator, TlsFront};

use crate::cluster::control_plane;
use crate::scene::{DLQ, Scene};
use forward_proxy::ForwardProxy;

/// What a certificate is for that works both with a proxy and without one.
const HOST: &str = "localhost";
/// As in a proxy's URL, with the blank that a proxy gets to see.
const USER: &str = "operator:proxy%20password";
const BASIC_AUTH: &str = "Basic b3BlcmF0b3I6cHJveHkgcGFzc3dvcmQ=";

/// What an operator with these variables does about three entries.
async fn a_run(simulator: Simulator, url: String, env: &[(&str, &str)]) -> (Scene, Value) {
    // A call that fails ends the run, so that a test that fails does not wait for retries.
    let args = ["--checkpoint-interval=0", "--retry-limit=0"];
    let scene = Scene::start_on(control_plane().await, "proxy", simulator, &args, |options| {
        options.upstash_url = url;
        options.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    })
    .await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    let status = scene.ran("drain", 1).await;
    (scene, status["lastRun"].clone())
}

/// A run against an Upstash behind TLS, whose authority the operator trusts.
async fn a_run_over_tls(env: &[(&str, &str)]) -> (Scene, Value) {
    let simulator = Simulator::start().await.unwrap();
    let upstash = TlsFront::start(HOST, simulator.api_url()).await.unwrap();
    let dir = ScratchDir::create("authority").unwrap();
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, upstash.authority()).unwrap();
    let env = [env, &[("SSL_CERT_FILE", file.to_str().unwrap())]].concat();
    a_run(simulator, upstash.url().to_owned(), &env).await
}

#[tokio::test]
async fn a_proxy_is_sent_nothing_of_a_call_without_tls() {
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = ForwardProxy::start().await;
        let simulator = Simulator::start().await.unwrap();
        let url = simulator.api_url().to_owned();
        let (_scene, run) = a_run(simulator, url, &[(variable, &proxy.url(""))]).await;
        assert_eq!(proxy.seen(), "", "{variable}");
        assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(3)), "{variable}");
    }
}

#[tokio::test]
async fn a_proxy_passes_on_a_call_over_tls_and_cannot_read_the_token() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = ForwardProxy::start().await;
        let (scene, run) = a_run_over_tls(&[(variable, &proxy.url(USER))]).await;
        assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(3)), "{variable}");
        let seen = proxy.seen();
        assert!(seen.starts_with(&format!("CONNECT {HOST}:")), "{variable}: {seen}");
        assert!(seen.to_lowercase().contains(&format!("proxy-authorization: {BASIC_AUTH}").to_lowercase()));
        assert_eq!(scene.simulator.tokens().shown_in(&seen), None, "{variable}");
        // The proxy's password is nobody else's business.
        let log = scene.operator.log();
        assert!(!log.contains("password") && !log.contains(BASIC_AUTH), "{variable}: {log}");
    }
}

#[tokio::test]
async fn a_host_in_no_proxy_is_reached_directly() {
    for variable in ["NO_PROXY", "no_proxy"] {
        let proxy = ForwardProxy::start().await;
        let env = [("HTTPS_PROXY", proxy.url("")), (variable, format!("example.com,{HOST}"))];
        let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
        let (_scene, run) = a_run_over_tls(&env).await;
        assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(3)), "{variable}");
        assert_eq!(proxy.seen(), "", "{variable}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_failed_call_without_its_password() {
    let proxy = ForwardProxy::refusing().await;
    let (scene, run) = a_run_over_tls(&[("HTTPS_PROXY", &proxy.url(USER))]).await;
    assert_eq!(
        (&run["result"], &run["reason"]),
        (&json!("Failed"), &json!("UpstreamUnavailable")),
        "{run:#}"
    );
    assert!(proxy.seen().starts_with(&format!("CONNECT {HOST}:")), "{}", proxy.seen());
    assert_eq!(scene.simulator.tokens().shown_in(&proxy.seen()), None);
    let shown = format!("{run}{}", scene.operator.log());
    assert!(!shown.contains("password") && !shown.contains(BASIC_AUTH), "{shown}");
}

#[tokio::test]
async fn a_kubeconfig_with_a_proxy_is_refused_without_showing_its_password() {
    let control_plane = control_plane().await;
    let simulator = Simulator::start().await.unwrap();
    let kubeconfig = std::fs::read_to_string(control_plane.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] =
        json!(format!("http://{USER}@proxy.example.com:3128"));
    let dir = ScratchDir::create("kubeconfig").unwrap();
    let mut options = OperatorOptions::new(control_plane, &simulator, "default");
    options.kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&options.kubeconfig, kubeconfig.to_string()).unwrap();
    let Err(error) = Operator::start(options).await else { panic!("it started") };
    let shown = format!("{error:#}");
    assert!(shown.contains("proxy-url for the cluster, which is not supported"), "{shown}");
    assert!(!shown.contains("password"), "{shown}");
}

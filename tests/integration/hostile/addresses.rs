//! Where policies and answers want a token to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testbed::Entry;
use tokio::net::TcpListener;

use crate::scene::{DLQ, Scene};

/// Counts who comes, on both families of addresses where there are both.
struct Trap {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trap = Self { port, connections: Arc::default() };
        trap.watch(listener);
        if let Ok(listener) = TcpListener::bind(("::1", port)).await {
            trap.watch(listener);
        }
        trap
    }

    fn watch(&self, listener: TcpListener) {
        let connections = Arc::clone(&self.connections);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                connections.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn policy(namespace: &str, name: &str, url: &str) -> Value {
    json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "action": "resume",
            "filters": { "all": true },
            "connection": { "url": url, "tokenSecretRef": { "name": "upstash", "key": "token" } },
        },
    })
}

#[tokio::test]
async fn no_url_of_a_policy_leads_a_token_to_another_listener() {
    let (scene, trap) = (Scene::start("astray").await, Trap::set().await);
    let (allowed, port) = (scene.simulator.api_url().trim_start_matches("http://").to_owned(), trap.port);
    let urls = [
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://LOCALHOST:{port}/"),
        format!("http://localhost.:{port}"),
        format!("http://127.1:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f000001:{port}"),
        format!("http://0177.0.0.1:{port}"),
        format!("http://127.0.0.1.:{port}"),
        format!("http://0.0.0.0:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://{allowed}@127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/{allowed}"),
        format!("http://127.0.0.1:{port}\\@{allowed}"),
        format!("http://{allowed}\\@127.0.0.1:{port}"),
        format!("http://{allowed}\t@127.0.0.1:{port}"),
        format!("http://{allowed}//127.0.0.1:{port}"),
        format!("http://{allowed}/..;/127.0.0.1:{port}"),
        format!("http://{allowed}/%2f%2f127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}#@{allowed}"),
        format!("http://127.0.0.1:{port}?@{allowed}"),
        format!("http://127.0.0.1%3a{port}@{allowed}"),
        "https://qstash.upstash.io.evil.example".to_owned(),
    ];
    let (mut refused, mut taken) = (0, Vec::new());
    for (index, url) in urls.iter().enumerate() {
        let name = format!("url-{index:02}");
        let manifest = policy(scene.namespace.name(), &name, url).to_string();
        // Either the API server refuses the URL, or the operator does.
        if scene.control_plane.kubectl_apply(&manifest).await.unwrap().status.success() {
            taken.push(name);
        } else {
            refused += 1;
        }
    }
    assert!(refused > 0 && taken.len() > 10, "{refused} refused, {taken:?}");
    for name in &taken {
        scene.condition(name, "Ready", "False", "UrlNotAllowed").await;
    }
    assert_eq!(trap.connections(), 0);
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
    // The trap works, and other ways to write the allowed address lead there.
    drop(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let allowed_port = allowed.rsplit(':').next().unwrap();
    scene.simulator.generate(DLQ, 1, &Entry::default()).await.unwrap();
    let manifest = policy(scene.namespace.name(), "decimal", &format!("http://2130706433:{allowed_port}"));
    scene.control_plane.kubectl_apply(&manifest.to_string()).await.unwrap().ok().unwrap();
    assert_eq!(scene.ran("decimal", 1).await["lastRun"]["processed"], 1);
    testbed::eventually(crate::scene::PATIENCE, "the trap counts", async || trap.connections() == 1)
        .await
        .unwrap();
}

#[tokio::test]
async fn no_redirect_leads_a_token_to_another_listener() {
    let (scene, trap) = (Scene::start("redirects").await, Trap::set().await);
    for (index, code) in [300, 301, 302, 303, 305, 307, 308, 201].into_iter().enumerate() {
        let port = trap.port;
        let scheme = if index % 2 == 0 { "http:" } else { "" };
        let location = format!("{scheme}//127.0.0.1:{port}/");
        let headers = json!({ "Location": location, "Refresh": format!("0; url={location}") });
        let fault = json!({ "status": { "code": code, "headers": headers, "body": "{}" } });
        scene.simulator.set_faults(&json!([{ "fault": fault, "times": 1 }])).await.unwrap();
        let name = format!("code-{code}");
        scene.apply(&name, json!({ "action": "resume", "filters": { "all": true } })).await;
        let status = scene.ran(&name, 1).await;
        if code >= 300 {
            assert_eq!(status["lastRun"]["reason"], "BadRequest", "{code}");
        }
    }
    assert_eq!(trap.connections(), 0);
}

//! Deployments and pods, played on a real API server.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::{ControlPlane, Namespace, Node, PodView, Tokens, eventually};

const SOON: Duration = Duration::from_secs(30);

struct World {
    control_plane: &'static ControlPlane,
    namespace: Namespace,
    node: Node,
}

impl World {
    /// `None` where pods cannot be played.
    async fn new(name: &str) -> Result<Option<Self>> {
        if !Node::is_possible()? {
            return Ok(None);
        }
        let control_plane = ControlPlane::shared().await?;
        let namespace = control_plane.namespace(name).await?;
        let node = Node::start(control_plane, namespace.name(), &Tokens::default()).await?;
        let world = Self { control_plane, namespace, node };
        world
            .apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "worker" } }))
            .await?;
        Ok(Some(world))
    }

    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let args: Vec<_> =
            ["--namespace", self.namespace.name()].into_iter().chain(args.iter().copied()).collect();
        self.control_plane.kubectl(&args).await?.ok()
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        object["metadata"]["namespace"] = self.namespace.name().into();
        self.control_plane.kubectl_apply(&object.to_string()).await?.ok().map(drop)
    }

    /// A pod that runs a script once, and everything that the script wrote.
    async fn run(&self, name: &str, script: &str, mut spec: Value, mut container: Value) -> Result<String> {
        container["name"] = "main".into();
        container["image"] = "busybox".into();
        container["command"] = json!(["sh", "-c", script]);
        spec["containers"] = json!([container]);
        spec["restartPolicy"] = "Never".into();
        spec["serviceAccountName"] = "worker".into();
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        self.apply(&pod).await?;
        let phase = "jsonpath={.status.phase}";
        eventually(SOON, "the pod has succeeded", async || {
            let phase = self.kubectl(&["get", "pod", name, "--output", phase]).await?;
            anyhow::ensure!(phase == "Succeeded", "{phase}: {}", self.node.logs());
            Ok(())
        })
        .await?;
        Ok(self.node.logs())
    }

    fn pods(&self) -> Vec<PodView> {
        self.node.pods()
    }
}

#[tokio::test]
async fn a_container_has_its_own_folders_user_and_rights() -> Result<()> {
    let Some(world) = World::new("sandbox").await? else { return Ok(()) };
    let script = r#"
        echo "user $(id -u) group $(id -g) groups $(id -G)"
        (: >/here) 2>/dev/null && echo "the root can be written" || echo "the root is read-only"
        (: >/data/here) && echo "a volume can be written"
        (: >/config/here) 2>/dev/null || echo "a ConfigMap cannot"
        cat /config/greeting; echo
        ls / | tr '\n' ' '; echo
        grep -E 'CapBnd|NoNewPrivs' /proc/self/status
        echo "home ${HOME:-none}, $GREETING from $NAME"
    "#;
    world
        .apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words" }, "data": { "greeting": "hello" },
        }))
        .await?;
    let spec = json!({
        "securityContext": { "runAsUser": 65532, "runAsNonRoot": true, "fsGroup": 7 },
        "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "config", "configMap": { "name": "words" } }],
    });
    let container = json!({
        "securityContext": {
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "config", "mountPath": "/config" }],
        "env": [
            { "name": "GREETING", "valueFrom": { "configMapKeyRef": { "name": "words", "key": "greeting" } } },
            { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
    });
    let log = world.run("look", script, spec, container).await?;
    for line in [
        "the root is read-only",
        "a volume can be written",
        "a ConfigMap cannot",
        "hello",
        "NoNewPrivs:\t1",
        "home none, hello from look",
    ] {
        assert!(log.lines().any(|found| found == line), "{line:?} is not in\n{log}");
    }
    assert!(!log.contains("root boot"), "the machine's folders are not seen: {log}");
    if log.contains("user 65532") {
        assert!(log.contains("user 65532 group 65532 groups 65532 7"), "{log}");
        assert!(log.contains("CapBnd:\t0000000000000000"), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_asks_the_api_server_as_its_service_account() -> Result<()> {
    let Some(world) = World::new("token").await? else { return Ok(()) };
    let script = r#"
        dir=/var/run/secrets/kubernetes.io/serviceaccount
        curl --silent --fail --cacert $dir/ca.crt --header "Authorization: Bearer $(cat $dir/token)" \
          --header 'Content-Type: application/json' \
          --data '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' \
          https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1/selfsubjectreviews |
          grep -E 'username|pod-name' -A1 | tr -d ' \n'
    "#;
    let user = json!({ "securityContext": { "runAsUser": 65532 } });
    let log = world.run("who-am-i", script, user, json!({})).await?;
    let name = format!("system:serviceaccount:{}:worker", world.namespace);
    assert!(log.contains(&name) && log.contains("who-am-i"), "{log}");
    Ok(())
}

/// Answers every request, and until then says that it listens.
const SERVER: &str = r"
    trap 'echo bye; exit 0' TERM
    python3 -m http.server 8080 --bind ${DLQ_OPERATOR_ADMIN_ADDRESS%:*} & wait
";

fn deployment(replicas: u32, script: &str) -> Value {
    let probe = json!({ "httpGet": { "path": "/proc/self/status", "port": "http" }, "failureThreshold": 1 });
    let container = json!({
        "name": "server", "image": "busybox", "command": ["sh", "-c", script], "readinessProbe": probe,
        "ports": [{ "name": "http", "containerPort": 8080 }],
    });
    let labels = json!({ "app": "server" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "server" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "serviceAccountName": "worker", "containers": [container] },
            },
        },
    })
}

#[tokio::test]
async fn a_deployment_is_rolled_out_replaced_and_removed() -> Result<()> {
    let Some(world) = World::new("rollout").await? else { return Ok(()) };
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "front" },
        "spec": { "selector": { "app": "server" }, "ports": [{ "port": 8888, "targetPort": "http" }] },
    });
    world.apply(&service).await?;
    world.apply(&deployment(2, SERVER)).await?;
    let rollout = ["rollout", "status", "deployment/server", "--timeout=30s"];
    world.kubectl(&rollout).await?;
    let first = world.pods();
    assert_eq!(first.iter().filter(|pod| pod.ready).count(), 2, "{first:#?}");
    world.run("client", "curl --silent --fail http://front:8888/etc/hosts", json!({}), json!({})).await?;

    world.kubectl(&["delete", "pod", &first[0].name]).await?;
    world.kubectl(&rollout).await?;
    assert!(world.node.logs().contains("bye"), "it is asked to end");

    world.apply(&deployment(2, &format!("{SERVER} # newer"))).await?;
    world.kubectl(&rollout).await?;
    eventually(SOON, "only new pods are left", async || {
        let now = world.pods();
        now.iter().all(|pod| first.iter().all(|old| old.name != pod.name)).then_some(()).context("old ones")
    })
    .await?;

    world.kubectl(&["delete", "deployment", "server"]).await?;
    eventually(SOON, "all of them are gone", async || {
        world.pods().iter().all(|pod| pod.name == "client").then_some(()).context("some are left")
    })
    .await?;
    assert_eq!(world.node.problems(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_ends_is_started_again_and_what_cannot_start_says_why() -> Result<()> {
    let Some(world) = World::new("restart").await? else { return Ok(()) };
    world.apply(&deployment(1, "echo started; exit 1")).await?;
    eventually(SOON, "it was started again", async || world.pods().iter().any(|pod| pod.restarts > 1))
        .await?;
    let mut without = deployment(1, "true");
    without["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "none", "key": "token" } } }]);
    world.apply(&without).await?;
    eventually(SOON, "it says what is missing", async || {
        world.pods().iter().any(|pod| pod.problem.as_deref() == Some("there is no Secret none"))
    })
    .await?;
    Ok(())
}

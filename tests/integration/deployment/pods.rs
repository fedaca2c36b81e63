//! Pods as the API server has them, and their processes.

use serde_json::Value;
use testbed::Node;

/// A pod of the operator.
#[derive(Debug)]
pub(super) struct Pod(pub(super) Value);

impl Pod {
    pub(super) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    pub(super) fn is_ready(&self) -> bool {
        let conditions = self.0["status"]["conditions"].as_array();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        self.0["metadata"]["deletionTimestamp"].is_null()
            && conditions.is_some_and(|all| all.iter().any(is_ready))
    }

    /// Its one container.
    fn container(&self) -> &Value {
        &self.0["status"]["containerStatuses"][0]
    }

    pub(super) fn restarts(&self) -> u64 {
        self.container()["restartCount"].as_u64().unwrap_or(0)
    }

    /// How the container ended that ran before.
    pub(super) fn last_end(&self) -> &Value {
        &self.container()["lastState"]["terminated"]
    }

    pub(super) fn container_id(&self) -> &str {
        self.container()["containerID"].as_str().unwrap()
    }

    /// The number of its process, as this machine counts.
    pub(super) fn process(&self, node: &Node) -> i32 {
        let cgroup = node.memory_cgroup(self.container_id()).unwrap();
        let processes = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
        processes.lines().next().unwrap().parse().unwrap()
    }
}

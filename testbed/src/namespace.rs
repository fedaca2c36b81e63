use std::{fmt, process::Stdio};

use crate::Kubectl;

/// A namespace of one test's own, with a name nobody else has.
///
/// Where a controller finishes the deletion of namespaces, on a node and in an existing cluster, that is asked for when this is
/// dropped. In a control plane alone it stays, and goes with the whole.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    delete_with: Option<Kubectl>,
}

impl Namespace {
    pub(crate) fn new(name: String, delete_with: Option<Kubectl>) -> Self {
        Self { name, delete_with }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(kubectl) = &self.delete_with {
            // Best effort, and not waited for beyond the request: nobody is there to hear of a failure.
            let _ = std::process::Command::new(kubectl.binary())
                .args(["delete", "namespace", &self.name, "--wait=false"])
                .env("KUBECONFIG", kubectl.kubeconfig())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

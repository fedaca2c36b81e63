//! What must hold before the process is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Gates with names, so that an answer tells which one is shut.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Vec<(&'static str, AtomicBool)>>,
}

impl Readiness {
    /// Gates, all shut.
    pub fn new(names: &[&'static str]) -> Self {
        Self { gates: Arc::new(names.iter().map(|name| (*name, AtomicBool::new(false))).collect()) }
    }

    /// Opens a gate for good.
    pub fn open(&self, name: &str) {
        for (_, gate) in self.gates.iter().filter(|(gate, _)| *gate == name) {
            gate.store(true, Ordering::Release);
        }
    }

    /// Each gate's name and whether it is open.
    pub fn gates(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.gates.iter().map(|(name, gate)| (*name, gate.load(Ordering::Acquire)))
    }
}

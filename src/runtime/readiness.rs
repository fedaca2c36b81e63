//! What must hold before the process is ready.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gates with names, each open or shut for a reason, so that an answer tells what is missing.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<Vec<Gate>>>,
}

#[derive(Clone, Copy, Debug)]
struct Gate {
    name: &'static str,
    /// Why it is shut, if it is.
    shut: Option<&'static str>,
}

impl Readiness {
    /// Gates, each shut for this reason.
    pub fn new(gates: &[(&'static str, &'static str)]) -> Self {
        let gates = gates.iter().map(|(name, reason)| Gate { name, shut: Some(reason) });
        Self { gates: Arc::new(Mutex::new(gates.collect())) }
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Gate>> {
        // What it guards is whole at any time.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a gate.
    pub fn open(&self, name: &'static str) {
        for gate in self.gates().iter_mut().filter(|gate| gate.name == name) {
            gate.shut = None;
        }
    }

    /// Adds a gate that is shut.
    pub fn shut(&self, name: &'static str, reason: &'static str) {
        self.gates().push(Gate { name, shut: Some(reason) });
    }

    /// Whether all gates are open, and what each of them says.
    pub fn report(&self) -> (bool, String) {
        let gates = self.gates();
        let mut lines = String::new();
        for Gate { name, shut } in gates.iter() {
            // Writing to a String cannot fail.
            let _ = match shut {
                None => writeln!(lines, "[+]{name} ok"),
                Some(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
            };
        }
        (gates.iter().all(|gate| gate.shut.is_none()), lines)
    }
}

//! What is known of the run: the policy's status, in memory or in a state file.

use std::io;

use dlq_crd::{DlqPolicyStatus, PolicyRun};

use super::state_file::StateFile;

/// The status of the policy, as an API server would keep it.
#[derive(Debug)]
pub struct Store {
    /// What tells this policy's runs apart from those of another of the same name.
    pub uid: String,
    version: u64,
    status: DlqPolicyStatus,
    file: Option<StateFile>,
}

impl Store {
    /// A status that ends with the process.
    pub fn in_memory() -> Self {
        Self { uid: random(), version: 0, status: DlqPolicyStatus::default(), file: None }
    }

    /// One that another process can read.
    pub(super) fn in_file(file: StateFile, status: DlqPolicyStatus) -> Self {
        Self { uid: file.uid().to_owned(), version: 0, status, file: Some(file) }
    }

    /// The status as it is stored.
    pub fn status(&self) -> &DlqPolicyStatus {
        &self.status
    }

    /// The run in progress.
    pub fn run(&self) -> Option<&PolicyRun> {
        self.status.current_run.as_ref()
    }

    /// What tells writes apart.
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// Stores the status. Once it returns, a crash of the machine loses nothing of it.
    ///
    /// # Errors
    /// The file cannot be written; what it held before is still there.
    pub fn write(&mut self, next: DlqPolicyStatus) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write(&next)?;
        }
        self.status = next;
        self.version += 1;
        Ok(())
    }
}

/// Sixteen hex digits.
pub fn random() -> String {
    format!("{:016x}", fastrand::u64(..))
}

//! The state file: one run, as far as it is done, so that another process can continue it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dlq_crd::DlqPolicyStatus;
use dlq_policy::run::figures;
use serde::{Deserialize, Serialize};

use super::store::random;
use crate::outcome::Problem;

/// The version of what is written.
const FORMAT: &str = "kubectl-dlq/v1";

/// A state file that no other process has open.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    of: Of,
    uid: String,
    _lock: Lock,
}

/// What a state file belongs to: a run continues with what it began with alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Of {
    /// `namespace/name`.
    pub(super) policy: String,
    /// The base URL of the account.
    pub(super) url: String,
    /// The hash of action, filters, overrides, match, loopProtection, connection and dryRun.
    pub(super) spec_hash: String,
}

/// What is in the file.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    format: String,
    #[serde(flatten)]
    of: Of,
    uid: String,
    status: DlqPolicyStatus,
}

impl StateFile {
    /// For a new run. A file of this policy whose run has ended is replaced.
    ///
    /// # Errors
    /// Another process has it, or it holds something that is still of use.
    pub(super) fn create(path: &Path, of: Of) -> Result<(Self, DlqPolicyStatus), Problem> {
        let lock = Lock::take(path)?;
        if let Some(content) = read(path)? {
            if content.of.policy != of.policy {
                return Err(problem(
                    path,
                    &format!(
                        "holds a run of {}; name another file with --state-file, or delete it",
                        content.of.policy
                    ),
                ));
            }
            if content.status.current_run.is_some() {
                return Err(problem(
                    path,
                    "holds a run that has not ended; continue it with --resume, or delete the file to begin another",
                ));
            }
        }
        let status = DlqPolicyStatus::default();
        let file = Self { path: path.to_owned(), of, uid: random(), _lock: lock };
        file.write(&status).map_err(|error| problem(path, &format!("cannot be written: {error}")))?;
        Ok((file, status))
    }

    /// To continue the run in it.
    ///
    /// # Errors
    /// Another process has it, there is no run to continue, or it is one of something else.
    pub(super) fn resume(path: &Path, of: Of) -> Result<(Self, DlqPolicyStatus), Problem> {
        let lock = Lock::take(path)?;
        let Some(Content { of: found, uid, status, .. }) = read(path)? else {
            return Err(problem(
                path,
                "does not exist: there is no run to continue; leave --resume out to begin one",
            ));
        };
        let other = |what: &str, found: &str| {
            problem(
                path,
                &format!(
                    "holds a run of {what} {found}; name its file with --state-file, or leave --resume out and name a new one"
                ),
            )
        };
        if found.policy != of.policy {
            return Err(other("the policy", &found.policy));
        }
        if found.url != of.url {
            return Err(other("the account at", &found.url));
        }
        if found.spec_hash != of.spec_hash {
            let what = "holds a run of another spec of this policy: its action, filters, overrides, match, loopProtection, connection or \
                        dryRun was edited since; undo the edit, or delete the file to begin anew";
            return Err(problem(path, what));
        }
        match (&status.current_run, &status.last_run) {
            (Some(_), _) => Ok((Self { path: path.to_owned(), of, uid, _lock: lock }, status)),
            (None, Some(run)) => {
                let result = run.result.map(|result| result.to_string()).unwrap_or_default();
                let what = format!(
                    "holds a run that has ended ({result}: {}); leave --resume out to begin another",
                    figures(run)
                );
                Err(problem(path, &what))
            }
            // It was killed before its run began.
            (None, None) => Err(problem(path, "holds no run yet; leave --resume out to begin one")),
        }
    }

    /// See [`Store::uid`](super::store::Store).
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Replaces what is in the file, at once and for good: a crash leaves either what was there or what is new.
    pub(super) fn write(&self, status: &DlqPolicyStatus) -> io::Result<()> {
        let content = Content {
            format: FORMAT.to_owned(),
            of: self.of.clone(),
            uid: self.uid.clone(),
            status: status.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&content)?;
        text.push(b'\n');
        let new = beside(&self.path, "new");
        // Left by a process that was killed. What is created anew follows no link.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The name as well: a crash of the machine must not bring the old file back.
        File::open(folder(&self.path))?.sync_all()
    }
}

fn read(path: &Path) -> Result<Option<Content>, Problem> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(path, &format!("cannot be read: {error}"))),
    };
    match serde_json::from_slice::<Content>(&text) {
        Ok(content) if content.format == FORMAT => Ok(Some(content)),
        _ => {
            Err(problem(path, "is no state file that this program can read; name another with --state-file"))
        }
    }
}

fn problem(path: &Path, what: &str) -> Problem {
    Problem::Failed(format!("the state file {} {what}", path.display()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Keeps other processes from the same state file, until it is dropped or the process ends. A file of its own, as the state
/// file is replaced by each write.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(state: &Path) -> Result<Self, Problem> {
        let path = beside(state, "lock");
        let failed = |error: &io::Error| problem(state, &format!("cannot be locked: {error}"));
        loop {
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
                let what = format!("is locked by {}, which is a symbolic link; remove it", path.display());
                return Err(problem(state, &what));
            }
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = file.map_err(|error| failed(&error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(problem(
                        state,
                        "is in use by another kubectl dlq drain; wait for it, or name another with --state-file",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
            // The process that had it may have removed it: then this is a lock on a file that no other process finds.
            let own = file.metadata().map(|metadata| metadata.ino());
            if fs::metadata(&path).map(|metadata| metadata.ino()).ok() == own.ok() {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked. One that stays keeps nobody from anything.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[path = "state_file_tests.rs"]
mod tests;

//! The workspace's own binaries, fresh: a test must never run against what was built from yesterday's sources.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::OnceCell;

use crate::{environment::Environment, workspace_root};

/// The path of one of the workspace's binaries. The first call of a process builds them all.
pub async fn binary(name: &str) -> Result<PathBuf> {
    static DIR: OnceCell<PathBuf> = OnceCell::const_new();
    let dir = DIR.get_or_try_init(find).await?;
    let path = dir.join(name);
    ensure!(path.is_file(), "there is no binary {}", path.display());
    Ok(path)
}

async fn find() -> Result<PathBuf> {
    let Environment { bin_dir, cargo, .. } = Environment::read();
    if let Some(dir) = bin_dir {
        return Ok(dir);
    }
    let build = CargoBuild::of(&env::current_exe().context("find the running executable")?)?;
    tokio::task::spawn_blocking(move || build.run(&cargo)).await.context("build the binaries")?
}

/// The build the running executable came from, read off its path.
#[derive(Debug, PartialEq)]
struct CargoBuild {
    target_dir: PathBuf,
    /// Given as `--target`, if it was.
    triple: Option<String>,
    profile: String,
}

impl CargoBuild {
    /// `exe` is `TARGET_DIR[/TRIPLE]/PROFILE[/deps]/NAME`, and cargo marks its target folder: with the first of these where
    /// it made the folder itself.
    fn of(exe: &Path) -> Result<Self> {
        let is_target_dir =
            |dir: &&Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|mark| dir.join(mark).is_file());
        let target_dir = exe.ancestors().find(is_target_dir).with_context(|| {
            format!("{} lies in no target folder of cargo's; set TESTBED_BIN_DIR", exe.display())
        })?;
        let inner = exe.parent().and_then(|dir| dir.strip_prefix(target_dir).ok()).unwrap_or(Path::new(""));
        let mut names: Vec<String> = inner
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .take_while(|name| !is_inside_profile(name))
            .collect();
        let profile = names.pop().context("the running executable lies in no profile's folder")?;
        Ok(Self { target_dir: target_dir.to_path_buf(), triple: names.pop(), profile })
    }

    /// Waits for a cargo that runs in the same target folder; `cargo test` and `cargo run` hold no lock by now.
    fn run(self, cargo: &Path) -> Result<PathBuf> {
        let mut command = Command::new(cargo);
        command
            .current_dir(workspace_root())
            .args(["build", "--workspace", "--bins", "--locked", "--quiet", "--profile"])
            // The one profile whose folder is named otherwise.
            .arg(if self.profile == "debug" { "dev" } else { &self.profile })
            .arg("--target-dir")
            .arg(&self.target_dir);
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        let output = command.output().with_context(|| format!("start {}", cargo.display()))?;
        ensure!(
            output.status.success(),
            "cargo could not build the workspace's binaries:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(self.target_dir.join(self.triple.unwrap_or_default()).join(self.profile))
    }
}

/// The folders cargo makes in a profile's own.
fn is_inside_profile(name: &str) -> bool {
    matches!(name, "deps" | "examples" | "build")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn build_of(path: &str) -> Option<(Option<String>, String)> {
        build_in("CACHEDIR.TAG", path)
    }

    fn build_in(mark: &str, path: &str) -> Option<(Option<String>, String)> {
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join(mark), "").unwrap();
        let build = CargoBuild::of(&target.path().join(path)).ok()?;
        assert_eq!(build.target_dir, target.path());
        Some((build.triple, build.profile))
    }

    #[test]
    fn the_profile_and_target_are_those_of_the_running_executable() {
        assert_eq!(build_of("debug/deps/e2e-0f"), Some((None, "debug".to_owned())));
        assert_eq!(build_of("release/testbed"), Some((None, "release".to_owned())));
        let made_by_others = build_in(".rustc_info.json", "debug/deps/e2e-0f");
        assert_eq!(made_by_others, Some((None, "debug".to_owned())), "the folder was there before cargo");
        let musl = "x86_64-unknown-linux-musl".to_owned();
        assert_eq!(
            build_of("x86_64-unknown-linux-musl/release/deps/e2e"),
            Some((Some(musl), "release".to_owned()))
        );
        assert_eq!(build_of("e2e"), None);
    }
}

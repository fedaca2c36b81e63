//! A binary that runs in the background, with a log.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::{environment, eventually::Patience, reaper::Reaper};

const LOG_TAIL_LINES: usize = 100;

/// What to run.
pub struct Program<'a> {
    /// Names the log, and the process in messages.
    pub name: &'a str,
    pub binary: &'a Path,
    pub args: Vec<String>,
    /// Beside the few variables every process inherits (`PATH`, `TMPDIR`, `RUST_BACKTRACE`, `LLVM_PROFILE_FILE` and
    /// `SSL_CERT_*`); there is no `HOME`.
    pub env: Vec<(String, String)>,
    /// The working folder, where the log `NAME.log` is kept. A log that is there is appended to.
    pub dir: &'a Path,
}

/// Sends a signal to a process that was not started here.
pub fn send_signal(pid: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid).with_context(|| format!("{pid} is no process"))?;
    kill_process(pid, signal).with_context(|| format!("send {signal:?} to {pid:?}"))
}

/// A running process. Dropping it kills it; while panicking, the end of its log is printed first.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    pub fn start(program: Program<'_>) -> Result<Self> {
        Self::start_with_input(program, Stdio::null())
    }

    /// With something to read, or a socket to accept at.
    pub(crate) fn start_with_input(program: Program<'_>, input: Stdio) -> Result<Self> {
        let Program { name, binary, args, env, dir } = program;
        // Before the process starts: what is left is the moment between its start and its number being told.
        let reaper = Reaper::shared()?;
        let log = dir.join(format!("{name}.log"));
        let stdout = OpenOptions::new().create(true).append(true).open(&log).context("open the log")?;
        let stderr = stdout.try_clone().context("open the log")?;
        let mut child = Command::new(binary)
            .args(args)
            .env_clear()
            .envs(environment::inherited())
            .envs(env)
            .current_dir(dir)
            .stdin(input)
            .stdout(stdout)
            .stderr(stderr)
            // A group of its own: Ctrl-C is for us, who then stop things in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        if let Err(error) = reaper.watch_process(child.id()) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        let pid = Pid::from_child(&child);
        Ok(Self { name: name.to_owned(), child, pid, log, status: None })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Everything it has written to stdout and stderr so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, under a heading.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("--- the end of {}'s log ---\n{}\n--- {} ---", self.name, tail.join("\n"), self.log.display())
    }

    /// Sends a signal to the process, not to what it started itself.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.status {
            bail!("{} has already ended: {status}", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// The memory that it has in use, in KiB. There has to be a `/proc`.
    pub fn resident_kib(&self) -> Result<u64> {
        self.status_number("VmRSS:")
    }

    /// The most memory that it had in use at once, in KiB. There has to be a `/proc`.
    pub fn peak_kib(&self) -> Result<u64> {
        self.status_number("VmHWM:")
    }

    /// How many threads it has. There has to be a `/proc`.
    pub fn threads(&self) -> Result<u64> {
        self.status_number("Threads:")
    }

    /// How many files and connections it has open. There has to be a `/proc`.
    pub fn open_files(&self) -> Result<u64> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid)).context("count its open files")?;
        Ok(files.count() as u64)
    }

    fn status_number(&self, field: &str) -> Result<u64> {
        let what = || format!("read {field} of {}", self.name);
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).with_context(what)?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(what)?;
        line.trim().trim_end_matches("kB").trim().parse().with_context(what)
    }

    /// How it ended, if it did.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none()
            && let Some(status) = self.child.try_wait().context("wait for a process")?
        {
            self.ended(status);
        }
        Ok(self.status)
    }

    /// Fails with the end of the log if it has ended: for whoever waits for it to come up.
    pub fn check_running(&mut self) -> Result<()> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status})\n{}", self.name, self.log_tail()),
        }
    }

    /// Waits until it ends by itself, or as an answer to a signal.
    pub async fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let mut patience = Patience::new(timeout, &what);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            patience.not_yet("it runs").await?;
        }
    }

    /// Kills it (SIGKILL) and whatever it started, at once.
    pub fn kill(&mut self) -> Result<()> {
        if self.try_wait()?.is_none() {
            // It leads its group, and is not waited for, so the number can be nobody else's.
            kill_process_group(self.pid, Signal::KILL).with_context(|| format!("kill {}", self.name))?;
            let status = self.child.wait().context("wait for a killed process")?;
            self.ended(status);
        }
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        if let Ok(reaper) = Reaper::shared() {
            reaper.forget_process(self.child.id());
        }
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the harness shows it beside the test that failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // The reaper is left for whatever cannot be killed here.
        let _ = self.kill();
    }
}

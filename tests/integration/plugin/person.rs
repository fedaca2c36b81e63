//! A person at a terminal, and a script without one.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use testbed::{ScratchDir, binary, eventually};
use tokio::process::Command;

use crate::scene::Scene;

/// Longer than any command takes on a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where commands are typed: a kubeconfig, a namespace, and an empty home.
pub(crate) struct Desk {
    kubeconfig: PathBuf,
    namespace: String,
    home: ScratchDir,
    plugin: PathBuf,
    env: Vec<(String, String)>,
}

impl Desk {
    pub(crate) async fn of(scene: &Scene) -> Self {
        Self::with(scene.control_plane.kubeconfig(), scene.namespace.name()).await
    }

    pub(crate) async fn with(kubeconfig: &Path, namespace: &str) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
            home: ScratchDir::create("desk").unwrap(),
            plugin: binary("kubectl-dlq").await.unwrap(),
            env: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn plugin(&self) -> &Path {
        &self.plugin
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let own = [
            ("PATH", std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned()),
            ("HOME", self.home.path().display().to_string()),
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("USER", "jane".to_owned()),
            ("TERM", "xterm-256color".to_owned()),
        ];
        own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(self.env.clone()).collect()
    }

    /// The arguments, with the desk's namespace where a command knows namespaces.
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let scoped =
            !matches!(args.first(), Some(&("completion" | "lint" | "version" | "__complete" | "--help")));
        let namespace = scoped.then_some(["--namespace", self.namespace.as_str()]);
        args.iter().copied().chain(namespace.into_iter().flatten()).collect()
    }

    /// A person types a command at a terminal of 100 columns.
    pub(crate) fn types(&self, args: &[&str]) -> Person {
        self.types_at(100, args)
    }

    /// At a terminal of so many columns.
    pub(crate) fn types_at(&self, columns: u16, args: &[&str]) -> Person {
        let mut command = CommandBuilder::new(&self.plugin);
        command.args(self.args(args));
        command.env_clear();
        for (key, value) in self.variables() {
            command.env(key, value);
        }
        Person::start(columns, command)
    }

    /// A script runs a command, without a terminal.
    pub(crate) async fn runs(&self, args: &[&str]) -> Ran {
        self.runs_program(&self.plugin, &self.args(args)).await
    }

    /// A script runs any program.
    pub(crate) async fn runs_program(&self, program: &Path, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.variables()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// What a script sees of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// What it complained of, if it failed with this code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.stderr
    }
}

/// A person in front of a running command.
pub(crate) struct Person {
    terminal: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: vt100::Parser,
    /// Everything that was written to it.
    written: Vec<u8>,
}

impl Person {
    fn start(columns: u16, command: CommandBuilder) -> Self {
        let pair = native_pty_system().openpty(size(columns)).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(cells(ROWS), cells(columns), 1000);
        let seen = Arc::new(Mutex::new(Seen { screen, written: Vec::new() }));
        let shown = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let mut seen = shown.lock().unwrap();
                seen.screen.process(&bytes[..count]);
                seen.written.extend_from_slice(&bytes[..count]);
            }
        });
        Self { terminal: pair.master, keyboard, child, seen }
    }

    /// What is on the screen now.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Everything that was written to the terminal, escape sequences included.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().written).into_owned()
    }

    /// Whether a second screen hides what was typed before.
    pub(crate) fn is_on_second_screen(&self) -> bool {
        self.seen.lock().unwrap().screen.screen().alternate_screen()
    }

    /// Waits until the screen shows a text.
    pub(crate) async fn sees(&self, text: &str) -> String {
        self.sees_that(text, |screen| screen.contains(text)).await
    }

    /// Waits until the screen is as wished.
    pub(crate) async fn sees_that(&self, what: &str, wished: impl Fn(&str) -> bool) -> String {
        eventually(PATIENCE, what, async || {
            let screen = self.screen();
            if wished(&screen) {
                Ok(screen)
            } else {
                Err(format!("{}\n--- written\n{}", screen, self.written()))
            }
        })
        .await
        .unwrap()
    }

    pub(crate) fn enters(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).unwrap();
    }

    pub(crate) fn presses_ctrl_c(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    pub(crate) fn resizes(&self, columns: u16) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(cells(ROWS), cells(columns));
        self.terminal.resize(size(columns)).unwrap();
    }

    /// Waits for the end, and gives the exit code and what is on the screen.
    pub(crate) async fn ends(&mut self) -> (u32, String) {
        let code = eventually(PATIENCE, "the command ends", async || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status.exit_code()),
            None => Err(String::from_utf8_lossy(&self.seen.lock().unwrap().written).into_owned()),
        })
        .await
        .unwrap();
        // What it wrote last is read a moment later.
        let mut before = self.written().len();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.written().len();
            if now == before {
                return (code, self.screen());
            }
            before = now;
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

const ROWS: u16 = 40;

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

fn size(columns: u16) -> PtySize {
    PtySize { rows: ROWS, cols: columns, pixel_width: 0, pixel_height: 0 }
}

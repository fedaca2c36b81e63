//! The root folder, user and rights of a container's process, without a container.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{container::not_inherited, volumes::Mount};
use crate::{
    Process, Program,
    environment::{self, Environment},
};

const SCRIPT: &str = include_str!("sandbox.sh");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is run to become a container, of util-linux and coreutils, and what runs there in the place of images.
const PROGRAMS: [&str; 7] = ["unshare", "setpriv", "mount", "chroot", "curl", "wget", "python3"];

/// What an image gives, without an image: the command line it has by itself, its user, and the programs in it that the
/// machine has not, as pairs of the path in the image and the path here.
pub(super) struct Image {
    pub(super) entrypoint: Vec<String>,
    pub(super) user: u32,
    pub(super) programs: Vec<(String, PathBuf)>,
}

/// What a security context says of a process, as far as it is played.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) fs_group: Option<u32>,
    read_only_root: bool,
    no_new_privileges: bool,
    drops_all: bool,
}

impl Identity {
    /// The container's own context counts before the pod's.
    pub(super) fn of(container: &Value, pod: &Value, image: &Image) -> Result<Self> {
        let (own, shared) = (&container["securityContext"], &pod["spec"]["securityContext"]);
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let given = |field: &str| number(&own[field]).or_else(|| number(&shared[field]));
        let user = given("runAsUser").unwrap_or(image.user);
        let must_not_be_root = own["runAsNonRoot"].as_bool().or_else(|| shared["runAsNonRoot"].as_bool());
        ensure!(user != 0 || must_not_be_root != Some(true), "runAsNonRoot, and the user is root");
        let dropped = own["capabilities"]["drop"].as_array();
        Ok(Self {
            user,
            group: given("runAsGroup").unwrap_or(user),
            fs_group: number(&shared["fsGroup"]),
            read_only_root: own["readOnlyRootFilesystem"] == true,
            no_new_privileges: own["allowPrivilegeEscalation"] == false,
            drops_all: dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL")),
        })
    }

    /// What runs a command with these rights; only root can become somebody else.
    fn command(&self, is_root: bool) -> Vec<String> {
        let mut command = vec!["/usr/bin/setpriv".to_owned()];
        if is_root {
            command.extend([format!("--reuid={}", self.user), format!("--regid={}", self.group)]);
            command
                .push(self.fs_group.map_or("--clear-groups".to_owned(), |group| format!("--groups={group}")));
        }
        if self.no_new_privileges {
            command.push("--no-new-privs".to_owned());
        }
        if self.drops_all {
            command.extend(["--inh-caps=-all".to_owned(), "--bounding-set=-all".to_owned()]);
        }
        command.push("--".to_owned());
        command
    }
}

/// Why containers cannot be played on this machine, if they cannot.
pub(super) fn problem() -> Option<String> {
    let environment = Environment::read();
    if environment.use_existing_cluster {
        return Some("an existing cluster has nodes of its own".to_owned());
    }
    let missing: Vec<_> =
        PROGRAMS.into_iter().filter(|program| environment.find(program).is_none()).collect();
    if !missing.is_empty() {
        return Some(format!("{} not in PATH", missing.join(", ")));
    }
    let tried = std::process::Command::new("unshare").args(unshare()).arg("true").output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Who is not root is root in a user namespace of their own.
fn unshare() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["--mount"]
    } else {
        &["--user", "--map-root-user", "--mount"]
    }
}

/// A process to be.
pub(super) struct Sandbox<'a> {
    /// Names the log.
    pub(super) name: &'a str,
    /// Of the pod: here the log is kept.
    pub(super) dir: &'a Path,
    pub(super) image: &'a Image,
    pub(super) identity: &'a Identity,
    pub(super) mounts: &'a [Mount],
    /// What is in `/etc/hosts`.
    pub(super) hosts: &'a str,
    pub(super) command_line: &'a [String],
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl Sandbox<'_> {
    pub(super) fn start(&self) -> Result<Process> {
        let file = |kind: &str| self.dir.join(format!("{}.{kind}", self.name));
        let (root, plan, hosts, names) = (file("root"), file("plan"), file("hosts"), file("nsswitch"));
        fs::create_dir_all(&root)?;
        fs::write(&hosts, self.hosts)?;
        fs::write(&names, "hosts: files\n")?;
        let mut lines = String::new();
        let mut line = |access: &str, source: &Path, target: &str| {
            writeln!(lines, "{access}\t{}\t{target}", source.display()).context("write a line")
        };
        for (target, source) in &self.image.programs {
            line("ro", source, target)?;
        }
        line("ro", &hosts, "/etc/hosts")?;
        line("ro", &names, "/etc/nsswitch.conf")?;
        for mount in self.mounts {
            line(if mount.read_only { "ro" } else { "rw" }, &mount.source, &mount.target)?;
        }
        fs::write(&plan, lines)?;
        let mut env = self.environment.clone();
        env.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
        let inherited: Vec<_> = environment::inherited().map(|(name, _)| name).collect();
        let unset: Vec<_> = not_inherited(inherited.into_iter(), &env).into_iter().collect();
        let path = |path: &Path| path.display().to_string();
        let mut args: Vec<String> = unshare().iter().map(|arg| (*arg).to_owned()).collect();
        args.extend(["/bin/sh", "-c", SCRIPT, "sandbox"].map(str::to_owned));
        let mode = if self.identity.read_only_root { "ro" } else { "rw" };
        args.extend([path(&root), path(&plan), mode.to_owned(), unset.join(" ")]);
        args.extend(self.identity.command(rustix::process::geteuid().is_root()));
        args.extend(self.command_line.iter().cloned());
        let unshare = Environment::read().find("unshare").context("unshare is not in PATH")?;
        Process::start(Program {
            name: self.name,
            binary: &unshare,
            args,
            env: env.into_iter().collect(),
            dir: self.dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(user: u32) -> Image {
        Image { entrypoint: Vec::new(), user, programs: Vec::new() }
    }

    fn identity(own: &Value, shared: &Value, image_user: u32) -> Result<Identity> {
        let pod = json!({ "spec": { "securityContext": shared } });
        Identity::of(&json!({ "securityContext": own }), &pod, &image(image_user))
    }

    #[test]
    fn the_containers_user_counts_before_the_pods_and_the_images() {
        let user = |own: Value, shared: Value| identity(&own, &shared, 3).unwrap().user;
        assert_eq!(user(json!({ "runAsUser": 1 }), json!({ "runAsUser": 2 })), 1);
        assert_eq!(user(json!({}), json!({ "runAsUser": 2 })), 2);
        assert_eq!(user(json!({}), json!({})), 3);
    }

    #[test]
    fn who_must_not_be_root_is_not_started_as_root() {
        assert!(identity(&json!({}), &json!({ "runAsNonRoot": true }), 0).is_err());
        assert!(identity(&json!({}), &json!({ "runAsNonRoot": true }), 65532).is_ok());
        assert!(identity(&json!({ "runAsNonRoot": false }), &json!({ "runAsNonRoot": true }), 0).is_ok());
    }

    #[test]
    fn rights_are_given_up() {
        let context = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
        let command = identity(&context, &json!({ "fsGroup": 7 }), 65532).unwrap().command(true).join(" ");
        assert_eq!(
            command,
            "/usr/bin/setpriv --reuid=65532 --regid=65532 --groups=7 --no-new-privs --inh-caps=-all \
             --bounding-set=-all --"
        );
    }
}

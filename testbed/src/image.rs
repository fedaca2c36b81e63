//! The image: built from the binary under test by the project's own script, and unpacked to run from.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{process::Command, sync::OnceCell};

use crate::{Programs, ScratchDir, announce, binary, environment::Environment, workspace_root};

const IN_IMAGE: &str = include_str!("in_image.sh");
/// Where a pod finds its token.
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// An image in the OCI layout.
pub struct Image {
    dir: ScratchDir,
}

impl Image {
    /// Whether an image can be built and run here: where it cannot, the caller skips its test, and this has said so.
    /// `REQUIRE_IMAGE=1` makes it an error.
    pub fn can_be_built() -> Result<bool> {
        if rustix::process::geteuid().is_root() {
            return Programs::IMAGE.are_installed();
        }
        ensure!(!Environment::is_set("REQUIRE_IMAGE"), "REQUIRE_IMAGE=1, and only root may mount");
        announce(
            "SKIPPED: a test of the image needs root, or `buildah unshare make test`. REQUIRE_IMAGE=1 makes this a \
             failure.",
        );
        Ok(false)
    }

    /// The operator's one that the tests of this process share, of the binary without its symbols. It is removed when the
    /// process ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Image> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::of("dlq-operator")).await
    }

    /// The simulator's, likewise.
    pub async fn of_simulator() -> Result<&'static Self> {
        static SHARED: OnceCell<Image> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::of("dlq-simulator")).await
    }

    async fn of(name: &str) -> Result<Self> {
        let dir = ScratchDir::create("binary")?;
        let stripped = dir.path().join(name);
        output(Command::new("strip").arg("-o").arg(&stripped).arg(binary(name).await?)).await?;
        Self::build(&stripped).await
    }

    /// Builds it of a binary, with hack/image/build.
    pub async fn build(binary: &Path) -> Result<Self> {
        let dir = ScratchDir::create("image")?;
        let script = workspace_root().join("hack/image/build");
        output(Command::new(script).arg(binary).arg(dir.path().join("layout"))).await?;
        Ok(Self { dir })
    }

    /// Writes it as an archive that clusters load, with hack/image/archive. `name` comes without a version.
    pub(crate) async fn archive(&self, name: &str, file: &Path) -> Result<()> {
        let script = workspace_root().join("hack/image/archive");
        output(Command::new(script).arg(self.layout()).arg(name).arg(file)).await.map(drop)
    }

    /// The digest of its manifest, `sha256:…`: what people pin.
    pub fn digest(&self) -> Result<String> {
        let index = json(&self.layout().join("index.json"))?;
        let manifests = index["manifests"].as_array().context("the layout's index lists no manifests")?;
        ensure!(manifests.len() == 1, "one image was built: {index}");
        text(&manifests[0]["digest"])
    }

    pub fn manifest(&self) -> Result<Value> {
        json(&self.blob(&self.digest()?))
    }

    /// User, entrypoint and the rest, as the runtime reads them.
    pub fn config(&self) -> Result<Value> {
        json(&self.blob(&text(&self.manifest()?["config"]["digest"])?))
    }

    /// What is in it: mode, owner, size and path of each file, as tar lists them.
    pub async fn files(&self) -> Result<Vec<String>> {
        let layer = self.layer()?;
        let list = output(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(layer)).await?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Its files as a container runtime lays them out, to start an operator from.
    pub async fn unpack(&self) -> Result<ImageRoot> {
        let dir = ScratchDir::create("root")?;
        let root = dir.path().join("root");
        let service_account = dir.path().join("service-account");
        fs::create_dir(&service_account).context("create the folder of the token")?;
        fs::create_dir(&root).context("create the root")?;
        output(
            Command::new("tar").args(["--numeric-owner", "-xpzf"]).arg(self.layer()?).arg("-C").arg(&root),
        )
        .await?;
        for mounted in ["proc", "dev", SERVICE_ACCOUNT] {
            fs::create_dir_all(root.join(mounted)).context("create what is mounted over")?;
        }
        let config = self.config()?["config"].take();
        let entrypoint = config["Entrypoint"].as_array().context("the image has no entrypoint")?;
        Ok(ImageRoot {
            user: text(&config["User"])?,
            entrypoint: entrypoint.iter().map(text).collect::<Result<_>>()?,
            env: config["Env"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|pair| pair.as_str()?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            dir,
        })
    }

    fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    fn layer(&self) -> Result<PathBuf> {
        let manifest = self.manifest()?;
        let layers = manifest["layers"].as_array().context("the manifest lists no layers")?;
        ensure!(layers.len() == 1, "the image has one layer: {layers:?}");
        Ok(self.blob(&text(&layers[0]["digest"])?))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.layout().join("blobs").join(digest.replace(':', "/"))
    }
}

/// An unpacked image. What is changed in it, an operator that is started from it finds; it cannot write to it itself.
#[derive(Debug)]
pub struct ImageRoot {
    dir: ScratchDir,
    user: String,
    entrypoint: Vec<String>,
    env: Vec<(String, String)>,
}

impl ImageRoot {
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// What kubelet mounts: a token, and the certificate authority of the API server.
    pub fn give_service_account(&self, namespace: &str, token: &str, ca: &Path) -> Result<()> {
        let folder = self.service_account();
        fs::copy(ca, folder.join("ca.crt")).context("write ca.crt")?;
        fs::write(folder.join("token"), token).context("write the token")?;
        fs::write(folder.join("namespace"), namespace).context("write the namespace")
    }

    /// What kubelet writes to /etc/hosts.
    pub fn give_host(&self, name: &str) -> Result<()> {
        fs::write(self.path().join("etc/hosts"), format!("127.0.0.1 {name}\n")).context("write /etc/hosts")
    }

    /// Adds a certificate authority to those of the image.
    pub fn trust(&self, pem: &str) -> Result<()> {
        let mut authorities = OpenOptions::new()
            .append(true)
            .open(self.path().join(AUTHORITIES))
            .context("open the authorities")?;
        authorities.write_all(pem.as_bytes()).context("add an authority")
    }

    /// Makes it trust nobody.
    pub fn distrust_all(&self) -> Result<()> {
        fs::remove_file(self.path().join(AUTHORITIES)).context("remove the authorities")
    }

    /// The program that runs the entrypoint in it, and what comes before the entrypoint's own arguments.
    pub(crate) fn command(&self) -> (PathBuf, Vec<String>) {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let args = ["--mount", "--propagation=private", "/bin/sh", "-c", IN_IMAGE, "in_image"]
            .into_iter()
            .map(str::to_owned)
            .chain([path(self.path()), self.user.clone(), path(self.service_account())])
            .chain(self.entrypoint.iter().cloned());
        ("/usr/bin/unshare".into(), args.collect())
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.env
    }

    fn service_account(&self) -> PathBuf {
        self.dir.path().join("service-account")
    }
}

fn json(path: &Path) -> Result<Value> {
    let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&content).with_context(|| format!("read {}", path.display()))
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("not a text: {value}"))
}

/// What a command prints. It fails with what it complains of.
async fn output(command: &mut Command) -> Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.output().await.with_context(|| format!("start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

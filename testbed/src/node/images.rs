//! The images that a node is given, as archives.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tokio::{process::Command, sync::OnceCell};

use crate::{Image, ScratchDir, command::output_of, environment::Environment};

/// What the chart's test pod runs.
const BUSYBOX: &str = "docker.io/library/busybox:1.37.0";
/// What holds a pod's namespaces: busybox, which sleeps.
pub(super) const SANDBOX: &str = "localhost/sandbox:testbed";

/// The folder with the images that a node is given, each as an archive: `dlq-operator.tar`, `dlq-simulator.tar` and others. It is
/// made once in a process, and removed when it ends.
pub async fn image_archives() -> Result<&'static Path> {
    static DIR: OnceCell<ScratchDir> = OnceCell::const_new();
    DIR.get_or_try_init(async || {
        let dir = ScratchDir::create("images")?;
        for (number, name) in [SANDBOX, BUSYBOX].into_iter().enumerate() {
            busybox(name, &dir.path().join(format!("{number}.tar"))).await?;
        }
        for (name, image) in
            [("dlq-operator", Image::shared().await?), ("dlq-simulator", Image::of_simulator().await?)]
        {
            let archive = dir.path().join(format!("{name}.tar"));
            image.archive(&format!("localhost/{name}"), &archive).await?;
        }
        Ok(dir)
    })
    .await
    .map(ScratchDir::path)
}

/// Its files.
pub(super) async fn archives() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(image_archives().await?).context("list the images of a node")?;
    let mut archives: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    Ok(archives)
}

/// An image of this machine's own busybox, under the name of the real one: nothing can be pulled here.
async fn busybox(name: &str, archive: &Path) -> Result<()> {
    let dir = ScratchDir::create("busybox")?;
    let binary = Environment::read().find("busybox").context("busybox is not in PATH")?;
    fs::copy(binary, dir.path().join("busybox")).context("copy busybox")?;
    let file = "FROM scratch\n\
                COPY busybox /bin/busybox\n\
                COPY busybox /bin/sh\n\
                COPY busybox /bin/sleep\n\
                COPY busybox /bin/wget\n\
                ENTRYPOINT [\"/bin/sleep\", \"infinity\"]\n";
    fs::write(dir.path().join("Containerfile"), file).context("write a Containerfile")?;
    let store = |command: &str| {
        let mut buildah = Command::new("buildah");
        buildah.arg("--root").arg(dir.path().join("store")).arg("--runroot").arg(dir.path().join("run"));
        buildah.args(["--storage-driver", "vfs", command, "--quiet"]);
        buildah
    };
    let mut build = store("build");
    build.args(["--isolation", "chroot", "--pull-never", "--layers=false", "--tag", name, "--file"]);
    build.arg(dir.path().join("Containerfile")).arg(dir.path());
    output_of(build, "").await?.ok()?;
    let mut push = store("push");
    push.arg(name).arg(format!("docker-archive:{}:{name}", archive.display()));
    output_of(push, "").await?.ok().map(drop)
}

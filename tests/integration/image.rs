//! The image that people run: what is in it, what it says of itself, and that the operator works from it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use testbed::{Entry, Image, ImageRoot, OperatorOptions, ScratchDir, Simulator, TlsFront, User};

use crate::cluster::control_plane;
use crate::scene::{DLQ, Scene};

/// A name that only the pod's `/etc/hosts` knows.
const HOST: &str = "upstash.test";

/// The shared image; none where it cannot be built, which was said.
async fn image() -> Option<&'static Image> {
    Image::can_be_built().unwrap().then_some(())?;
    Some(Image::shared().await.unwrap())
}

/// Changes the options of an operator so that it runs from a root as a pod does, with Upstash behind TLS.
async fn in_pod(options: &mut OperatorOptions, root: ImageRoot, upstash: &TlsFront) {
    let control_plane = control_plane().await;
    let token = control_plane.token(User::Admin).unwrap();
    let namespace = options.pod_namespace.clone();
    root.give_service_account(&namespace, token, control_plane.ca().unwrap()).unwrap();
    root.give_host(HOST).unwrap();
    let (host, port) = control_plane.url().unwrap().trim_start_matches("https://").rsplit_once(':').unwrap();
    options.env.push(("KUBERNETES_SERVICE_HOST".to_owned(), host.to_owned()));
    options.env.push(("KUBERNETES_SERVICE_PORT".to_owned(), port.to_owned()));
    upstash.url().clone_into(&mut options.upstash_url);
    options.image = Some(Arc::new(root));
}

async fn start(name: &str, root: ImageRoot, simulator: Simulator, upstash: &TlsFront) -> Scene {
    let control_plane = control_plane().await;
    let mut changed = OperatorOptions::new(control_plane, &simulator, "unused");
    in_pod(&mut changed, root, upstash).await;
    Scene::start_on(control_plane, name, simulator, &["--checkpoint-interval=0"], |options| {
        options.env = changed.env;
        options.upstash_url = changed.upstash_url;
        options.image = changed.image;
    })
    .await
}

fn certificates(pem: &str) -> BTreeSet<&str> {
    pem.split_inclusive("-----END CERTIFICATE-----")
        .map(str::trim)
        .filter(|block| !block.is_empty())
        .collect()
}

#[tokio::test]
async fn the_image_holds_what_the_operator_needs_and_nothing_else() {
    let Some(image) = image().await else { return };
    let (libraries, loader) = match std::env::consts::ARCH {
        "aarch64" => ("lib/aarch64-linux-gnu", "lib/ld-linux-aarch64.so.1"),
        _ => ("lib/x86_64-linux-gnu", "lib64/ld-linux-x86-64.so.2"),
    };
    let mut expected: BTreeSet<String> = [
        "-rw-r--r-- etc/group",
        "-rw-r--r-- etc/nsswitch.conf",
        "-rw-r--r-- etc/os-release",
        "-rw-r--r-- etc/passwd",
        "-rw-r--r-- etc/ssl/certs/ca-certificates.crt",
        "-rwxr-xr-x usr/local/bin/dlq-operator",
        "-rw-r--r-- usr/share/doc/ca-certificates/copyright",
        "-rw-r--r-- usr/share/doc/dlq-operator/copyright",
        "-rw-r--r-- usr/share/doc/dlq-operator/third-party",
        "-rw-r--r-- usr/share/doc/libc6/copyright",
        "-rw-r--r-- usr/share/doc/libgcc-s1/copyright",
        "-rw-r--r-- var/lib/dpkg/status.d/ca-certificates",
        "-rw-r--r-- var/lib/dpkg/status.d/libc6",
        "-rw-r--r-- var/lib/dpkg/status.d/libgcc-s1",
    ]
    .map(str::to_owned)
    .into();
    expected.insert(format!("-rwxr-xr-x {loader}"));
    expected.insert(format!("-rwxr-xr-x {libraries}/libc.so.6"));
    expected.insert(format!("-rw-r--r-- {libraries}/libgcc_s.so.1"));
    expected.insert(format!("-rw-r--r-- {libraries}/libm.so.6"));
    // Every folder above a file, and no other.
    let folders: BTreeSet<_> = expected
        .iter()
        .flat_map(|line| {
            let path = line.split_once(' ').unwrap().1;
            path.match_indices('/')
                .map(|(end, _)| format!("drwxr-xr-x {}/", &path[..end]))
                .collect::<Vec<_>>()
        })
        .collect();
    expected.extend(folders);

    let listed = image.files().await.unwrap();
    let found: BTreeSet<_> = listed
        .iter()
        .map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            // All is root's, so that the operator could not change it on a root that can be written to.
            assert_eq!(columns[1], "0/0", "{line}");
            format!("{} {}", columns[0], columns[5..].join(" "))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(listed.len(), expected.len(), "no path is there twice");
}

#[tokio::test]
async fn the_image_says_who_runs_it_and_what_it_is() {
    let Some(image) = image().await else { return };
    let mut config = image.config().unwrap();
    assert_eq!(config["os"], "linux");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(config["architecture"], architecture);
    let created = config["created"].clone();
    let revision = config["config"]["Labels"]["org.opencontainers.image.revision"].take();
    let commit = revision.as_str().unwrap();
    assert!(commit == "unknown" || commit.len() == 40, "{revision}");
    let about = json!({
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": env!("CARGO_PKG_DESCRIPTION"),
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
        "org.opencontainers.image.title": "dlq-operator",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
    });
    config["config"]["Labels"]["org.opencontainers.image.revision"] = revision.clone();
    let expected = json!({
        "User": "65532:65532",
        "Entrypoint": ["/usr/local/bin/dlq-operator"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "ExposedPorts": { "8080/tcp": {} },
        "WorkingDir": "/",
        "Labels": about,
    });
    assert_eq!(config["config"], expected);
    // Registries show the annotations, not the labels.
    let manifest = image.manifest().unwrap();
    for (key, value) in about.as_object().unwrap() {
        assert_eq!(manifest["annotations"][key], *value, "{key}");
    }
}

#[tokio::test]
async fn the_same_binary_gives_the_same_image() {
    let Some(image) = image().await else { return };
    let root = image.unpack().await.unwrap();
    // A copy that was made at another time, by somebody with another umask.
    let dir = ScratchDir::create("copy").unwrap();
    let copy = dir.path().join("copy");
    fs::copy(root.path().join("usr/local/bin/dlq-operator"), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o700)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&copy).unwrap().set_modified(long_ago).unwrap();
    let again = Image::build(&copy).await.unwrap();
    assert_eq!(again.digest().unwrap(), image.digest().unwrap());

    // What differs shows.
    File::options().append(true).open(&copy).unwrap().write_all(b"\n").unwrap();
    let other = Image::build(&copy).await.unwrap();
    assert_ne!(other.digest().unwrap(), image.digest().unwrap());
}

#[tokio::test]
async fn the_image_trusts_the_authorities_of_the_package_and_no_other() {
    let Some(image) = image().await else { return };
    let root = image.unpack().await.unwrap();
    let bundle = fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    let mut package = String::new();
    for file in fs::read_dir("/usr/share/ca-certificates/mozilla").unwrap() {
        package += &fs::read_to_string(file.unwrap().path()).unwrap();
        package.push('\n');
    }
    let (trusted, package) = (certificates(&bundle), certificates(&package));
    assert!(trusted.len() > 100, "{}", trusted.len());
    assert_eq!(trusted.difference(&package).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(trusted.len(), package.len());
}

/// The operator is the image's own, with its libraries, its way to resolve names, its authorities and its time zones;
/// it has nowhere to write.
#[tokio::test]
async fn an_operator_in_the_image_drains_a_dlq_over_tls() {
    let Some(image) = image().await else { return };
    let simulator = Simulator::start().await.unwrap();
    let upstash = TlsFront::start(HOST, simulator.api_url()).await.unwrap();
    let root = image.unpack().await.unwrap();
    root.trust(upstash.authority()).unwrap();
    let scene = start("image-drains", root, simulator, &upstash).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();

    let schedule = json!({
        "action": "resume", "filters": { "all": true }, "schedule": "0 9 * * *", "timeZone": "Asia/Kolkata",
    });
    scene.apply_annotated("drain", schedule, json!({ "dlq-operator.dev/requestedAt": "now" })).await;
    let status = scene.ran("drain", 1).await;
    assert_eq!(status["lastRun"]["result"], "Succeeded", "{status:#}");
    assert_eq!(status["lastRun"]["processed"], 120);
    // Five and a half hours before nine o'clock.
    let next = status["nextScheduleTime"].as_str().unwrap();
    assert!(next.ends_with("T03:30:00Z"), "{next}");
    assert_eq!(scene.simulator.entries(DLQ).await.unwrap()["entries"], json!([]));

    let process = scene.operator.process();
    let proc = format!("/proc/{}", process.pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["65532"; 4]);
    assert_eq!(field("Gid:"), ["65532"; 4]);
    assert_eq!(field("Groups:"), Vec::<String>::new());
    assert_eq!(field("CapEff:"), ["0000000000000000"]);
    let command = fs::read_to_string(format!("{proc}/cmdline")).unwrap();
    assert_eq!(command.split('\0').next().unwrap(), "/usr/local/bin/dlq-operator");
    let mounts = fs::read_to_string(format!("{proc}/mounts")).unwrap();
    let own = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(own.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{own}");
}

#[tokio::test]
async fn an_operator_in_the_image_sends_nothing_to_a_server_it_does_not_trust() {
    let Some(image) = image().await else { return };
    let simulator = Simulator::start().await.unwrap();
    let upstash = TlsFront::start(HOST, simulator.api_url()).await.unwrap();
    let root = image.unpack().await.unwrap();
    let scene = start("image-distrusts", root, simulator, &upstash).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();

    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene
        .status("drain", "a call was tried twice", |status| {
            status["currentRun"]["retries"].as_i64() >= Some(2)
        })
        .await;
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.calls.len(), 0);
}

#[tokio::test]
async fn an_operator_in_the_image_does_not_start_without_authorities() {
    let Some(image) = image().await else { return };
    let control_plane = control_plane().await;
    let simulator = Simulator::start().await.unwrap();
    let upstash = TlsFront::start(HOST, simulator.api_url()).await.unwrap();
    let root = image.unpack().await.unwrap();
    root.distrust_all().unwrap();
    let namespace = control_plane.namespace("image-no-roots").await.unwrap();
    let mut options = OperatorOptions::new(control_plane, &simulator, namespace.name());
    in_pod(&mut options, root, &upstash).await;
    let Err(error) = testbed::Operator::start(options).await else { panic!("it started") };
    assert!(format!("{error:#}").contains("No CA certificates were loaded"), "{error:#}");
}

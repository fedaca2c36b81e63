//! Real parts for tests, demo and benchmarks, each a process of its own:
//!
//! * [`ControlPlane`]: etcd and kube-apiserver, with the real kubectl,
//! * [`Simulator`]: the Upstash Workflow DLQ API in memory, with faults on demand,
//! * [`Operator`]: the operator's binary, as a pod would run it.
//!
//! [`Helm`] installs charts there, as people do. A [`Node`] is a cluster that also runs pods: kubelet, containerd and the rest.
//!
//! [`Prometheus`] scrapes an operator where a test wants to know what an admin would see.
//! An operator can also be run from its [`Image`], and [`TlsFront`] gives it an Upstash behind TLS.
//! [`ApiServerProxy`] stands between an operator and the API server where that must misbehave.
//!
//! What was started is stopped when its value is dropped, and also when this process dies without dropping
//! anything: see `reaper.rs`. Tests wait with [`eventually()`], never by sleeping.

mod api_server_proxy;
mod assets;
mod audit;
mod binaries;
mod command;
mod control_plane;
mod environment;
mod eventually;
mod forward;
mod go_module;
mod helm;
mod image;
mod kubectl;
mod ledger;
mod memory_cgroup;
mod namespace;
mod node;
mod operator;
mod otlp_receiver;
mod own_server;
mod ports;
mod process;
mod programs;
mod prometheus;
mod reaper;
mod simulator;
mod tls_front;
mod tokens;

pub use api_server_proxy::{ApiCall, ApiServerProxy, CallKind, Trouble};
pub use assets::Assets;
pub use audit::AuditedCall;
pub use binaries::binary;
pub use command::CommandOutput;
pub use control_plane::{ControlPlane, Part, User};
pub use eventually::{Outcome, eventually};
pub use forward::{Target, forward};
pub use helm::Helm;
pub use image::{Image, ImageRoot};
pub use kubectl::Kubectl;
pub use ledger::{Entry, Fate, Ledger, LedgerCall, LedgerEntry, Order, WorkflowRun};
pub use memory_cgroup::MemoryCgroup;
pub use namespace::Namespace;
pub use node::{Exposed, Node, image_archives};
pub use operator::{Operator, OperatorOptions};
pub use otlp_receiver::{OtlpReceiver, TraceSpan};
pub use process::{Process, Program, Signal, send_signal};
pub use programs::Programs;
pub use prometheus::{Prometheus, PrometheusOptions, Sample, Series, promtool};
pub use reaper::ScratchDir;
pub use simulator::Simulator;
pub use tls_front::TlsFront;
pub use tokens::Tokens;

use std::path::{Path, PathBuf};

/// The root of the workspace this crate was built from: where `crds/`, `examples/` and `hack/` are.
pub fn workspace_root() -> PathBuf {
    let testbed = Path::new(env!("CARGO_MANIFEST_DIR"));
    testbed.parent().unwrap_or(testbed).to_path_buf()
}

/// Writes a line straight to stderr. The test harness captures what `eprintln!` prints, and a first build of the
/// control plane must not look like a test that hangs.
fn announce(line: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "testbed: {line}");
}

/// 64 random bits as hex: for names that must not collide and tokens that must not be guessed.
fn random_hex() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

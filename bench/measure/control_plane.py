"""etcd and kube-apiserver of a phase, and the requests that the API server counted."""

import collections
import json
import os
import re
import socket
import subprocess

from .connection import Connection, wait_for

ADMIN, OPERATOR = "admin-of-the-bench", "operator-of-the-bench"
# 100,000 policies and their history until it is compacted exceed etcd's own 2 GiB.
QUOTA_BYTES = 8 << 30
WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")

LINE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ControlPlane:
    def __init__(self, spawn, folder, binaries):
        self.folder, self.binaries = folder, binaries
        self.own = collections.Counter()  # requests of the bench itself
        key, tokens = os.path.join(folder, "sa.key"), os.path.join(folder, "tokens.csv")
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        with open(tokens, "w") as file:
            file.write(f"{ADMIN},bench,bench,system:masters\n{OPERATOR},operator,operator,system:masters\n")
        etcd, self.port = f"http://127.0.0.1:{free_port()}", free_port()
        self.etcd = spawn([
            f"{binaries}/etcd", "--data-dir", f"{folder}/etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
            "--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync", f"--quota-backend-bytes={QUOTA_BYTES}"], "etcd.log")
        self.api_server = spawn([
            f"{binaries}/kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", str(self.port),
            "--cert-dir", f"{folder}/certs", "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", key, "--service-account-signing-key-file", key, "--token-auth-file", tokens,
            "--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount",
            "--service-cluster-ip-range", "10.0.0.0/24", "--advertise-address", "127.0.0.1",
            "--endpoint-reconciler-type", "none"], "apiserver.log")
        self.api = self.connection()
        wait_for(lambda: self.api.call("GET", "/readyz"), 120, "the API server")
        self.kubeconfig = self.write_kubeconfig("operator", OPERATOR)
        self.admin_kubeconfig = self.write_kubeconfig("admin", ADMIN)

    def connection(self, counts=None):
        return Connection(self.port, ADMIN, self.own if counts is None else counts)

    def write_kubeconfig(self, name, token):
        path = os.path.join(self.folder, f"{name}.kubeconfig")
        server = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        with open(path, "w") as file:
            json.dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": server}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, file)
        return path

    def kubectl_create(self, manifest, text=None):
        subprocess.run([f"{self.binaries}/kubectl", "--kubeconfig", self.admin_kubeconfig, "create", "-f", manifest],
                       input=text, check=True, capture_output=True)

    def cpu(self):
        return self.api_server.cpu() + self.etcd.cpu()

    def memory(self):
        return self.api_server.memory()["VmRSS"] + self.etcd.memory()["VmRSS"]

    def requests(self, resources):
        """Requests of others than the bench by (verb, resource, subresource), to these resources."""
        metrics = self.api.call("GET", "/metrics").decode()
        return requests_in(metrics, resources) - self.own

    def counting(self, resources):
        return Counting(self, resources)


class Counting(dict):
    """Counts, while its block runs, the requests of the contestant: "PATCH dlqpolicies/status" and how many."""

    def __init__(self, control_plane, resources):
        super().__init__()
        self.control_plane, self.resources = control_plane, resources

    def __enter__(self):
        self.before, self.cpu = self.control_plane.requests(self.resources), self.control_plane.cpu()
        return self

    def __exit__(self, *_):
        self.read()
        self.cpu = self.control_plane.cpu() - self.cpu

    def read(self):
        """The counts so far."""
        now = self.control_plane.requests(self.resources)
        now.subtract(self.before)
        self.clear()
        self.update({f"{verb} {resource}{'/' + sub if sub else ''}": n for (verb, resource, sub), n in sorted(now.items()) if n})
        return self

    def total(self):
        return sum(self.values())

    def writes(self, resource):
        return sum(n for key, n in self.items() if key.split()[0] in WRITES and key.split()[1].split("/")[0] == resource)


def requests_in(metrics, resources):
    """What `apiserver_request_total` says, by (verb, resource, subresource)."""
    found = collections.Counter()
    for line in metrics.splitlines():
        if match := LINE.match(line):
            labels = dict(LABEL.findall(match[1]))
            if labels.get("resource") in resources:
                found[labels["verb"], labels["resource"], labels.get("subresource", "")] += int(float(match[2]))
    return found

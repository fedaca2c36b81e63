"""What a phase has for itself: a control plane, a fake, and the contestant's definition and policies in them."""

import collections
import json
import os
import statistics
import sys
import threading
import time
import urllib.parse

from .connection import wait_for
from .contestant import dig
from .control_plane import ControlPlane, free_port
from .fake import TOKEN, Fake
from .processes import Started

NAMESPACE, SECRET, SECRET_KEY = "bench", "upstash-token", "token"
NEVER = "0 0 1 1 *"


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def folder_in(variable):
    value = os.environ.get(variable)
    if not value:
        sys.exit(f"set {variable}, or use bench/run, which does")
    return os.path.abspath(value)


class World:
    def __init__(self, contestant, folder):
        self.c, self.folder, self.started, self.served = contestant, folder, [], 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.stop(grace=0)

    def spawn(self, argv, log, **more):
        process = Started(argv, os.path.join(self.folder, log), **more)
        self.started.append(process)
        return process

    def start(self):
        os.makedirs(self.folder)
        self.fake = Fake(self.spawn, self.folder, os.path.join(folder_in("BENCH_BIN"), "fake-upstash"))
        if self.c.kind == "script":
            return
        self.control_plane = ControlPlane(self.spawn, self.folder, folder_in("BENCH_CONTROL_PLANE"))
        self.api = self.control_plane.api
        for manifest in self.c.manifests:
            self.control_plane.kubectl_create(manifest)
        self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets",
                      {"metadata": {"name": SECRET}, "stringData": {SECRET_KEY: TOKEN}}, count=("POST", "secrets", ""))
        for name in self.c.objects:
            with open(name) as file:
                self.control_plane.kubectl_create("-", self.c.expand(file.read(), self.variables()).encode())
        self.policies = f"/apis/{self.c.group}/{self.c.version}/namespaces/{NAMESPACE}/{self.c.plural}"
        wait_for(lambda: self.api.call("GET", self.policies, count=("LIST", self.c.plural, "")), 30, "the custom resource")
        # The API server delays creations for two seconds after a definition is new, which would count for the contestant.
        self.api.call("POST", self.policies + "?dryRun=All", self.body("asked"), count=("POST", self.c.plural, ""))

    def variables(self, **more):
        return {"NAMESPACE": NAMESPACE, "BASE_URL": self.fake.url, "TOKEN": TOKEN, "SECRET_NAME": SECRET,
                "SECRET_KEY": SECRET_KEY, **more}

    def counting(self):
        return self.control_plane.counting(self.c.counted)

    # The contestant

    def operator(self, replica="replica-0", elected=False, **more):
        variables = self.variables(KUBECONFIG=self.control_plane.kubeconfig, REPLICA=replica,
                                   METRICS_PORT=str(free_port()), HEALTH_PORT=str(free_port()), **more)
        started = self.spawn(self.c.argv(variables, elected), "contestant.log", env=self.c.environment(variables), cwd=self.c.folder)
        if url := self.c.conf.get("ready_url"):
            started.ready_url = self.c.expand(url, variables)
        return started

    def ready_operator(self):
        """A started operator that has served one policy, and is quiet again."""
        operator = self.operator()
        self.served += 1
        self.first_call_of_new_policy(f"served-{self.served}", operator=operator)
        if operator.wait_quiet(120) is None:
            raise RuntimeError("the contestant does not come to rest")
        return operator

    def wait_settled(self, operator, counted, limit):
        """Waits until it is quiet and asks for nothing more; returns when that began, or None.

        Low use of CPU alone does not tell: on a busy machine an operator may be waiting for answers."""
        deadline, quiet, before = time.time() + limit, None, None
        while time.time() < deadline:
            since, now = operator.wait_quiet(deadline - time.time()), counted.read().total()
            if since is None or now == before:
                return since and quiet
            quiet, before = since, now
        return None

    # Policies

    def body(self, label, kind="oneshot", schedule="", **labels):
        return self.c.policy(kind, self.variables(NAME=label, LABEL=label, SCHEDULE=schedule), labels)

    def accepts(self, kind):
        """Whether the contestant has this kind of policy, and its definition every field of it."""
        if kind not in self.c.templates:
            return False
        try:
            self.api.call("POST", self.policies + "?dryRun=All&fieldValidation=Strict", self.body("asked", kind),
                          count=("POST", self.c.plural, ""))
        except RuntimeError as error:
            say(f"  without {kind} policies: {error}")
            return False
        return True

    def create(self, body, api=None):
        (api or self.api).call("POST", self.policies, body, count=("POST", self.c.plural, ""))

    def create_many(self, bodies, connections=16):
        bodies, lock, errors = iter(bodies), threading.Lock(), []

        def work():
            counts = collections.Counter()
            try:
                api = self.control_plane.connection(counts)
                while not errors:
                    with lock:
                        body = next(bodies, None)
                    if body is None:
                        break
                    self.create(body, api)
            except Exception as error:  # raised below
                errors.append(error)
            with lock:
                self.control_plane.own.update(counts)

        threads = [threading.Thread(target=work) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def get_policy(self, name):
        return self.api.json("GET", f"{self.policies}/{name}", count=("GET", self.c.plural, ""))

    def observed(self):
        """How many policies there are, and how many of them the operator says it saw."""
        have, seen, token = 0, 0, ""
        while True:
            query = urllib.parse.urlencode({"limit": 2000, "continue": token})
            page = self.api.json("GET", f"{self.policies}?{query}", count=("LIST", self.c.plural, ""))
            have += len(page["items"])
            seen += sum(not self.c.observed or dig(p, self.c.observed) == p["metadata"].get("generation") for p in page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                return have, seen

    def first_call_of_new_policy(self, label, timeout=120, operator=None, **labels):
        """Creates a one-shot policy with one entry to act on; when its first call arrived."""
        self.fake.seed(1, [label])
        self.create(self.body(label, **labels))
        return self.fake.first_call(label, timeout, operator)

    def patch_latency(self, samples=300):
        """Median ms of a status patch of ours with nobody else at work: the control plane's own pace."""
        self.create(self.body("calibration", "scheduled", NEVER))
        path, took = f"{self.policies}/calibration", []
        for i in range(samples + 50):
            body = json.dumps({"metadata": {"annotations": {"bench.example.com/n": str(i)}}}).encode()
            since = time.perf_counter()
            self.api.call("PATCH", path + "/status", body, count=("PATCH", self.c.plural, "status"),
                          content_type="application/merge-patch+json")
            took.append((time.perf_counter() - since) * 1e3)
        self.api.call("DELETE", path, count=("DELETE", self.c.plural, ""))
        return statistics.median(took[50:])

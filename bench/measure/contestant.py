"""What a contestant file says: how to start an operator, and what its policies look like. README.md has the format."""

import json
import os
import string
import tomllib


class Contestant:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.conf = tomllib.load(file)
        self.folder = os.path.dirname(os.path.abspath(path))
        self.name = self.conf["name"]
        self.kind = self.conf.get("kind", "operator")
        self.manifests = [os.path.join(self.folder, os.path.expandvars(m)) for m in self.conf.get("manifests", [])]
        self.objects = [os.path.join(self.folder, o) for o in self.conf.get("objects", [])]
        resource = self.conf.get("resource", {})
        self.group, self.version, self.plural = (resource.get(key) for key in ("group", "version", "plural"))
        self.counted = {self.plural, "secrets", "events", *resource.get("count_also", [])}
        self.observed = self.conf.get("observed", "status.observedGeneration")
        self.processed = self.conf.get("processed", "status.processed")
        self.templates = self.conf.get("policy", {})
        self.leader_election = self.conf.get("leader_election")
        self.shard = self.conf.get("shard")

    def expand(self, text, variables):
        own = {"BIN": os.environ.get("BENCH_BIN", ""), "HERE": self.folder}
        return string.Template(text).substitute({**os.environ, **own, **variables})

    def argv(self, variables, elected=False):
        more = [*(self.leader_election if elected else []), *(self.shard if "SHARD" in variables else [])]
        return [self.expand(part, variables) for part in [*self.conf["command"], *more]]

    def environment(self, variables):
        return {name: self.expand(value, variables) for name, value in self.conf.get("env", {}).items()}

    def paths(self, key):
        """The files or folders that a key names, as far as they are there."""
        found = (os.path.join(self.folder, self.expand(path, {})) for path in self.conf.get(key, []))
        return [path for path in found if os.path.exists(path)]

    def policy(self, kind, variables, labels):
        """The JSON of one policy, as bytes. Kinds: scheduled, oneshot, match, parallel."""
        policy = json.loads(string.Template(self.templates[kind]).substitute(variables))
        policy["metadata"].setdefault("labels", {}).update(labels)
        return json.dumps(policy).encode()


def dig(value, path):
    """What is in a nested object at a path such as "status.processed", or None."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value

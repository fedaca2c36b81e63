"""B6: what is shipped."""

import gzip
import os


def measure(run):
    out = {}
    if files := list(files_of(run.c.paths("size"))):
        out["binary_mb"] = sum(map(os.path.getsize, files)) / 1e6
        out["binary_gzip_mb"] = sum(map(gzipped, files)) / 1e6
    if files := list(files_of(run.c.paths("image"))):
        out["image_mb"] = sum(map(os.path.getsize, files)) / 1e6
    return out


def files_of(paths):
    for path in paths:
        if not os.path.isdir(path):
            yield path
        for root, _, names in os.walk(path):
            yield from (file for name in names if not os.path.islink(file := os.path.join(root, name)))


def gzipped(path):
    with open(path, "rb") as file:
        return len(gzip.compress(file.read(), 6))

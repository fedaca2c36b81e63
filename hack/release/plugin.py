"""plugin.py ARCHIVE EPOCH NAME=FILE…: packs files, so that the same files give the same archive on Linux and macOS alike."""

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path


def main():
    archive, epoch, *files = sys.argv[1:]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, _, path in (file.partition("=") for file in files):
            content = Path(path).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(epoch)
            entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            tar.addfile(entry, io.BytesIO(content))
    # Without the archive's own name in it.
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=int(epoch)) as file:
        file.write(packed.getvalue())


main()

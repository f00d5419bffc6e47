"""Pack the input files into `archive.tar.xz` and describe them in `index.json`.

The same files give the same bytes whenever and wherever they are packed: members are sorted by path and
carry no time, owner or permissions of their machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import sys
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

FILES = Path("in/files")
ARCHIVE = Path("archive.tar.xz")


class Hashing(io.RawIOBase):
    """Passes reads or writes on and keeps the SHA-256 and the number of the bytes that went through."""

    def __init__(self, through: BinaryIO) -> None:
        self.through = through
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._seen(self.through.read(size))

    def write(self, data: Any) -> int:
        self._seen(bytes(data))
        return self.through.write(data)

    def _seen(self, data: bytes) -> bytes:
        self.digest.update(data)
        self.bytes += len(data)
        return data


def members(folder: Path) -> list[tuple[str, Path]]:
    """Every regular file below a folder as (path in the archive, file), sorted by the path's bytes."""
    found = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*")]
    return sorted(((name, path) for name, path in found if path.is_file()), key=lambda pair: pair[0].encode())


def header(name: str, size: int) -> tarfile.TarInfo:
    """A member without a trace of the machine that packed it."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 0
    return member


def add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    """Add one file; returns its line of the index, hashed from the very bytes that were packed."""
    with path.open("rb") as opened:
        source = Hashing(opened)
        tar.addfile(header(name, path.stat().st_size), source)
    return {"path": name, "bytes": source.bytes, "sha256": source.digest.hexdigest()}


def pack(files: list[tuple[str, Path]], level: int) -> dict[str, Any]:
    """Write the archive; returns the index."""
    with ARCHIVE.open("wb") as opened:
        target = Hashing(opened)
        with (
            lzma.open(target, "wb", preset=level, check=lzma.CHECK_SHA256) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            lines = [add(tar, name, path) for name, path in files]
    archive = {"path": ARCHIVE.name, "bytes": target.bytes, "sha256": target.digest.hexdigest()}
    return {"format": 1, "archive": archive, "bytes": sum(line["bytes"] for line in lines), "files": lines}


def main() -> int:
    """Pack, or say in a sentence why not."""
    files = members(FILES) if FILES.is_dir() else []
    if not files:
        print("There are no files to archive: give at least one in `files`.", file=sys.stderr)
        return 2
    inputs = json.loads(Path("task.json").read_text())["inputs"]
    index = pack(files, int(inputs.get("level", 3)))
    Path("index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n")
    print(f"packed {len(files)} files, {index['bytes']} bytes into {index['archive']['bytes']} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

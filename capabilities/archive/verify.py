"""Read the stored archive back, check every byte of it against the index and pass both on.

The archive is what the platform's store gave back, not what was packed, so it is treated as a stranger's: it
is read as a stream and never unpacked to disk, and no member may be longer than the index says.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import sys
import tarfile
from pathlib import Path
from typing import IO, Any

from pack import Hashing

STORED = Path("in/units/000000")
BLOCK = 1024 * 1024


class Damaged(Exception):
    """What came back from the store is not what was packed; the message says where."""


def hash_member(source: IO[bytes], most: int) -> tuple[int, str]:
    """Length and SHA-256 of one member, at most one block more than expected."""
    digest, length = hashlib.sha256(), 0
    while length <= most and (block := source.read(BLOCK)):
        digest.update(block)
        length += len(block)
    return length, digest.hexdigest()


def check_member(tar: tarfile.TarFile, member: tarfile.TarInfo, expected: dict[str, dict[str, Any]]) -> None:
    """Check one member and take it off the list of those still expected."""
    line = expected.pop(member.name, None)
    source = tar.extractfile(member) if member.isreg() else None
    if line is None or source is None:
        raise Damaged(f"The archive holds {member.name!r}, which the index does not.")
    if hash_member(source, line["bytes"]) != (line["bytes"], line["sha256"]):
        raise Damaged(f"The file {member.name!r} is not the one that was packed.")


def check_members(stored: Hashing, index: dict[str, Any]) -> None:
    """Check that the archive holds exactly the index's files, in any order."""
    expected = {line["path"]: line for line in index["files"]}
    try:
        with lzma.open(stored, "rb") as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:
                check_member(tar, member, expected)
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise Damaged(f"The archive cannot be read: {error}.") from error
    if expected:
        raise Damaged(f"The archive lacks {len(expected)} files, the first is {min(expected)!r}.")


def verify(archive: Path, index: dict[str, Any]) -> dict[str, Any]:
    """Check the archive at a path; returns the verification. Raises Damaged."""
    with archive.open("rb") as opened:
        stored = Hashing(opened)
        check_members(stored, index)
        while stored.read(BLOCK):
            pass
    found = {"path": archive.name, "bytes": stored.bytes, "sha256": stored.digest.hexdigest()}
    if found != index["archive"]:
        raise Damaged("The archive's hash is not the index's.")
    return {"verified": True, "archive": found, "files": len(index["files"]), "bytes": index["bytes"]}


def main() -> int:
    """Verify, then pass the results on."""
    try:
        index = json.loads((STORED / "index.json").read_text())
        verification = verify(STORED / "archive.tar.xz", index)
    except (Damaged, OSError, ValueError, KeyError) as problem:
        print(f"The stored archive did not verify. {problem}", file=sys.stderr)
        return 1
    for name in ("archive.tar.xz", "index.json"):
        shutil.copyfile(STORED / name, name)
    Path("verification.json").write_text(json.dumps(verification, indent=1) + "\n")
    print(f"verified {verification['files']} files, {verification['bytes']} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

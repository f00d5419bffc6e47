"""Which files of a working folder are results: globs, looked up without following any link."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gridfare.agent.executors.base import PRIVATE
from gridfare.agent.files import checked_path, open_file_beneath
from gridfare.agent.model import MIB, OutputGlob
from gridfare.agent.reasons import AttemptEnded

OURS = {"task.json", "progress", "checkpoint-please"}
OUR_FOLDERS = {"in", PRIVATE}
mimetypes.add_type("application/json", ".json")


@dataclass(frozen=True, slots=True)
class Output:
    """One result file as it stands in the report."""

    path: str
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """A line of the report's ``outputs``."""
        kind = mimetypes.guess_type(self.path)[0] or "application/octet-stream"
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256, "media_type": kind}


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``**`` stands for any number of folders, ``*`` stays within a name."""
    *folders, name = pattern.split("/")
    parts = ["(?:[^/]+/)*" if folder == "**" else segment(folder) + "/" for folder in folders]
    return re.compile("".join(parts) + (".+" if name == "**" else segment(name)), re.DOTALL)


def segment(glob: str) -> str:
    """One part between slashes: ``*``, ``?`` and ``[...]`` are special."""
    tokens = re.findall(r"\[!?\]?[^\]]*\]|.", glob, re.DOTALL)
    return "".join(token_pattern(token) for token in tokens)


def token_pattern(token: str) -> str:
    """A character, a wildcard or a class of characters as a regular expression."""
    if token in "*?":  # noqa: S105  a token of a glob
        return {"*": "[^/]*", "?": "[^/]"}[token]
    if len(token) == 1:
        return re.escape(token)
    inner = token[1:-1]
    negated = inner.startswith("!")
    escaped = inner[negated:].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
    return f"(?!/)[{'^' if negated else ''}{escaped}]"


def walk(root: int, prefix: str = "") -> Iterator[str]:
    """Paths of all entries below an open folder that are not folders; folders behind links are not entered."""
    with os.scandir(root) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield path
        elif path not in OUR_FOLDERS:
            below = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
            try:
                yield from walk(below, path + "/")
            finally:
                os.close(below)


def matching(paths: list[str], globs: tuple[OutputGlob, ...]) -> list[str]:
    """Paths that some glob names; raises outputs_missing when a required one names none."""
    found: set[str] = set()
    for glob in globs:
        hits = {path for path in paths if matches(glob.path, path)}
        if glob.required and not hits:
            raise AttemptEnded("outputs_missing", f"no file matches {glob.path}")
        found |= hits
    return sorted(found)


def matches(pattern: str, path: str) -> bool:
    """Whether a glob names a path; our own files only when named literally."""
    return (path not in OURS or pattern == path) and compiled(pattern).fullmatch(path) is not None


def collect(folder: str, globs: tuple[OutputGlob, ...], output_mib: int) -> list[Output]:
    """Hash the results of a working folder, in the order of their paths.

    Raises AttemptEnded: outputs_missing, output_limit, or outputs_missing with the name of a result that is no
    regular file or not named in UTF-8 (a link is no result, wherever it points).
    """
    if not globs:
        return []
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        paths = matching(regular_files(root), globs)
        check_total(root, paths, output_mib)
        return [hashed(root, path) for path in paths]
    finally:
        os.close(root)


def result_hash(results: list[Output]) -> str:
    """SHA-256 over the sorted lines ``path TAB bytes TAB sha256 LF``: what a result is committed to by."""
    lines = sorted(f"{result.path}\t{result.bytes}\t{result.sha256}\n" for result in results)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def regular_files(root: int) -> list[str]:
    """Regular files below an open folder; everything else is no result."""
    found = []
    for path in walk(root):
        if stat.S_ISREG(os.stat(path, dir_fd=root, follow_symlinks=False).st_mode):
            found.append(checked_name(path))  # noqa: PERF401  checked one by one: the first bad name ends it
    return found


def checked_name(path: str) -> str:
    """A path that every file system and JSON can hold; raises AttemptEnded."""
    try:
        path.encode()
        return checked_path(path)
    except (UnicodeEncodeError, ValueError):
        raise AttemptEnded("outputs_missing", f"a file's name cannot be delivered: {path!r}") from None


def check_total(root: int, paths: list[str], output_mib: int) -> None:
    """Raise output_limit when the results together are too large."""
    total = sum(os.stat(path, dir_fd=root, follow_symlinks=False).st_size for path in paths)
    if total > output_mib * MIB:
        raise AttemptEnded("output_limit", f"results of {total} bytes, more than {output_mib} MiB")


def hashed(root: int, path: str) -> Output:
    """Hash one result, opened without following links."""
    with os.fdopen(open_file_beneath(root, path), "rb") as reading:
        digest = hashlib.file_digest(reading, "sha256").hexdigest()
        return Output(path, os.fstat(reading.fileno()).st_size, digest)

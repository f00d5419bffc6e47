"""Small file operations that survive a crash, a hostile name and a hostile tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: after a crash it holds the old or the new content, never a mixture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: a signal or a full pipe may shorten a single write."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checked_path(text: str) -> str:
    """``text`` when it is a plain relative path that stays inside its folder; raises ValueError otherwise."""
    parts = text.split("/")
    bad = not text or text.startswith("/") or "\\" in text or any(ord(c) < 32 for c in text)
    if bad or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise ValueError(f"not a path inside the folder: {text!r}")
    return text


def open_beneath(root: int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open ``path`` below the folder ``root`` without following any symbolic link on the way.

    Raises OSError (ELOOP or ENOTDIR) when a part of the path is a link. The descriptor is the caller's.
    """
    *folders, name = path.split("/")
    current = os.dup(root)
    try:
        for folder in folders:
            below = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = below
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


def open_file_beneath(root: int, path: str) -> int:
    """Like open_beneath, for regular files only: a named pipe or a device raises ValueError."""
    descriptor = open_beneath(root, path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"not a regular file: {path!r}")
    return descriptor


def copy_file(source: Path, target: Path) -> None:
    """A copy of its own (a program may write to it), shared on disk where the file system can."""
    with open(source, "rb") as reading, open(target, "xb") as writing:
        left = os.fstat(reading.fileno()).st_size
        while left > 0:
            try:
                done = os.copy_file_range(reading.fileno(), writing.fileno(), left)
            except OSError:  # another file system, or a kernel that cannot
                shutil.copyfileobj(reading, writing, 1 << 20)
                return
            if done == 0:
                return
            left -= done


def remove_tree(path: Path | str) -> None:
    """Delete a folder that a program may have made unreadable; never follows a link; never raises."""
    shutil.rmtree(path, onerror=_retry_opened)


def _retry_opened(
    function: Callable[..., object],
    path: str,
    problem: tuple[type[BaseException], BaseException, TracebackType],
) -> None:
    """Give ourselves the rights back on the entry and its folder, once, and go on."""
    if issubclass(problem[0], FileNotFoundError) or os.path.islink(path):
        return
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def disk_usage(folder: str) -> tuple[int, int]:
    """Bytes on disk below ``folder`` and the number of entries; links are counted, not followed."""
    total = entries = 0
    pending = [folder]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as listing:
            for entry in listing:
                entries += 1
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return total, entries


def largest_file(folder: str) -> int:
    """Size in bytes of the largest regular file below ``folder``."""
    largest = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                largest = max(largest, os.lstat(os.path.join(base, name)).st_size)
    return largest

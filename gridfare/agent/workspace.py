"""The working folder of one attempt: private, empty but for its inputs, deleted when the attempt is over."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from gridfare.agent.executors.base import PRIVATE
from gridfare.agent.files import copy_file, write_all
from gridfare.agent.model import InputFile, Lease

MOST_CLEAN = 64
"""Folders that wait to serve again."""


class Folders:
    """Makes working folders. A folder in which nothing but ours is left serves again: short units then cost no
    change of directories, which a busy file system makes slow.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.made = str(root), 0
        self.clean: list[str] = []

    def create(self, lease: Lease) -> str:
        """A private folder with ``task.json`` in it; returns its path."""
        folder = self.clean.pop() if self.clean else self._make()
        descriptor = os.open(f"{folder}/task.json", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            document = task_document(lease)
            write_all(descriptor, document)
            if os.fstat(descriptor).st_size > len(document):  # emptied first, ext4 would wait for the disk at each close
                os.ftruncate(descriptor, len(document))
        finally:
            os.close(descriptor)
        return folder

    def _make(self) -> str:
        self.made += 1
        folder = f"{self.root}/{self.made}"
        os.mkdir(folder, 0o700)
        os.mkdir(f"{folder}/{PRIVATE}", 0o700)
        return folder

    def take_back(self, folder: str) -> bool:
        """Keep a folder that is as it was; False when it has to be deleted."""
        if len(self.clean) >= MOST_CLEAN or not is_untouched(folder):
            return False
        self.clean.append(folder)
        return True


def is_untouched(folder: str) -> bool:
    """Whether only ours is in it, with our rights and still ours alone (no other name leads to task.json)."""
    try:
        top, own = os.lstat(folder), os.lstat(f"{folder}/task.json")
        entries = sorted(os.listdir(folder))
        return (
            entries == [PRIVATE, "task.json"]
            and not os.listdir(f"{folder}/{PRIVATE}")
            and (top.st_mode, top.st_uid) == (stat.S_IFDIR | 0o700, os.geteuid())
            and (own.st_mode, own.st_nlink, own.st_uid) == (stat.S_IFREG | 0o644, 1, os.geteuid())
        )
    except OSError:
        return False


def task_document(lease: Lease) -> bytes:
    """What the program reads about its unit."""
    spec = lease.spec
    document = {
        "task": spec.task,
        "stage": spec.stage,
        "index": lease.index,
        "total": spec.total,
        "params": lease.params,
        "inputs": spec.inputs,
        "files": [file.path for file in (*spec.files, *lease.files)],
    }
    return json.dumps(document, ensure_ascii=False).encode(errors="replace")


def place(folder: str, file: InputFile, content: Path) -> None:
    """Put a copy of an input where the program finds it."""
    target = Path(folder) / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(content, target)


def read_progress(folder: str) -> int | None:
    """Millionths from the program's ``progress`` file, or None when there is no number between 0 and 1."""
    try:
        descriptor = os.open(f"{folder}/progress", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        value = float(os.read(descriptor, 64).split()[0])
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)
    return round(value * 1_000_000) if 0 <= value <= 1 else None

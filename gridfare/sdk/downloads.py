"""Result files on their way down: several at once, resumed, checked by SHA-256, moved into place when whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from gridfare.sdk.answers import Result, ResultFile
from gridfare.sdk.artifacts import AT_ONCE, Progress, digest_of, no_progress
from gridfare.sdk.errors import BadFile, Corrupt, GridfareError, Unreachable
from gridfare.sdk.http import Calls, Http, checked


class DownloadCalls(Calls):
    """A delivered task's files."""

    def result(self, task_id: str) -> Result:
        """The manifest of what was delivered. Conflict or NotFound while there is none."""
        answer: Result = self.http.get(f"/tasks/{task_id}/result")
        return answer

    def download_results(
        self,
        task_id: str,
        folder: Path | str,
        *,
        progress: Progress = no_progress,
        files: Sequence[ResultFile] | None = None,
    ) -> list[Path]:
        """Download `files` (default: all) of a task below `folder`, and return their places in the manifest's order.

        What is there already with the right hash is kept; what was begun is continued. Raises Corrupt when the bytes
        are not those of the manifest, BadFile when a name would leave the folder.
        """
        wanted = list(self.result(task_id)["files"] if files is None else files)
        root = Path(folder)
        targets = [safe_target(root, file["path"]) for file in wanted]  # all are checked before any is written
        root.mkdir(parents=True, exist_ok=True)

        def fetch(pair: tuple[ResultFile, Path]) -> Path:
            file, target = pair
            place = f"/tasks/{task_id}/result/files/{quote(file['path'])}"
            return _Download(self.http, place, file, root, target, progress).run()

        with ThreadPoolExecutor(AT_ONCE) as workers:
            return list(workers.map(fetch, zip(wanted, targets, strict=True)))


def safe_target(root: Path, name: str) -> Path:
    """Where `name` lands below `root`. Raises BadFile for every name that could land elsewhere."""
    parts = PurePosixPath(name).parts
    odd = not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]
    if odd or any(ord(char) < 32 for char in name):
        raise BadFile("unsafe_name", f"the result holds the unsafe file name {name!r}; nothing was written")
    target = root.joinpath(*parts)
    # a link that lies in the folder already must not carry a file out of it
    if not target.parent.resolve().is_relative_to(root.resolve()) or target.is_dir():
        raise BadFile("unsafe_name", f"{target} cannot be written below {root}")
    return target


class _Download:
    """One file. Partial bytes wait beside the target under a name made of hash and path."""

    def __init__(self, http: Http, place: str, file: ResultFile, root: Path, target: Path, progress: Progress) -> None:
        self.http, self.place, self.file, self.target = http, place, file, target
        own = hashlib.sha256(file["path"].encode()).hexdigest()[:8]
        self.part = root / f".gridfare-{file['sha256'][:16]}-{own}.part"
        self.progress = progress

    def run(self) -> Path:
        if not self._is_there():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            if not (self._complete() or self._complete()):  # a bad part of an earlier run deserves a second try
                raise Corrupt("hash_mismatch", f"{self.file['path']} did not arrive as the manifest promises")
            self.part.replace(self.target)
        self.progress(self.file["path"], self.file["bytes"], self.file["bytes"])
        return self.target

    def _is_there(self) -> bool:
        size, sha256 = self.file["bytes"], self.file["sha256"]
        return self.target.is_file() and self.target.stat().st_size == size and digest_of(self.target)[0] == sha256

    def _complete(self) -> bool:
        """Fetch until all bytes are here. True when they are the promised ones; otherwise the part is thrown away."""
        failures, have = 0, self._have()
        while have < self.file["bytes"] or not self.part.exists():
            try:
                self._fetch(have)
            except httpx.TransportError as error:
                failure: GridfareError = self.http.unreachable(error)
            except Unreachable as error:
                failure = error
            else:
                failure = Unreachable("cut_off", f"{self.file['path']} stopped early")
            before, have = have, self._have()
            failures = 0 if have > before else failures + 1
            if have < self.file["bytes"] and failures >= self.http.retry.tries:
                raise failure
            if failures:
                time.sleep(self.http.retry.delay(failures))
        if have == self.file["bytes"] and digest_of(self.part)[0] == self.file["sha256"]:
            return True
        self.part.unlink()
        return False

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch(self, have: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": f'"{self.file["sha256"]}"'}
        with self.http.stream(self.place, headers=headers) as answer:
            pause = self.http.pause_after(answer, 1)
            if pause is not None:
                time.sleep(pause)
                raise Unreachable("busy", f"the platform answered {answer.status_code}", status=answer.status_code)
            if answer.status_code != 416:
                checked(answer)
            with self.part.open("ab" if answer.status_code == 206 else "wb") as stream:
                self._write(answer, stream, have if answer.status_code == 206 else 0)

    def _write(self, answer: httpx.Response, stream: Any, done: int) -> None:
        for chunk in answer.iter_raw() if answer.status_code != 416 else ():
            stream.write(chunk)
            done += len(chunk)
            if done > self.file["bytes"]:  # more than promised: do not let it fill the disk
                return
            self.progress(self.file["path"], done, self.file["bytes"])

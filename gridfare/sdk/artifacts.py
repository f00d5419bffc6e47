"""Files on their way up: hashed, sent only when the platform lacks the bytes, resumed where they stopped."""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gridfare.sdk.answers import Artifact, ArtifactWhere
from gridfare.sdk.errors import BadFile, Conflict, Corrupt, GridfareError, PlatformFault, Unreachable
from gridfare.sdk.http import Calls

CHUNK_BYTES = 4 * 1024 * 1024
AT_ONCE = 4
# name, bytes done, bytes in all
Progress = Callable[[str, int, int], None]


def no_progress(name: str, done: int, total: int) -> None:
    """Nobody watches."""


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted. Symbolic links are refused: they may lead out of it."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    if linked := [path for path in found if path.is_symlink()]:
        raise BadFile("symbolic_link", f"{linked[0]} is a symbolic link; give the file itself")
    return found


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and bytes."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()
    except OSError as error:
        raise BadFile("unreadable_file", f"{path}: {error.strerror or error}") from error


class ArtifactCalls(Calls):
    """Uploads, and the organization's artifacts."""

    def upload(self, path: Path | str, *, name: str | None = None, progress: Progress = no_progress) -> str:
        """Upload a file as `name` (default: its own) and return the artifact's id.

        Bytes that the organization already has are not sent again. Raises BadFile, Refused, Unreachable.
        """
        path = Path(path)
        sha256, size = digest_of(path)
        name = name or path.name
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        wanted = {"name": name, "sha256": sha256, "bytes": size, "media_type": media_type}
        answer = self.http.post("/uploads", wanted, repeatable=True)
        progress(name, int(answer.get("offset") or 0), size)
        answer = self._send_rest(path, name, size, answer, progress)
        progress(name, size, size)
        return _id_of(answer["artifact"])

    def _send_rest(self, path: Path, name: str, size: int, answer: Any, progress: Progress) -> Any:
        """Send what is missing. The patience is for standing still: every byte that arrives renews it."""
        upload, offset, failures = answer["id"], int(answer["offset"]), 0
        with path.open("rb") as stream:
            while not answer.get("artifact"):
                failure: GridfareError = Unreachable("stalled", f"{name}: the platform takes no bytes")
                try:
                    answer = self._send_chunk(stream, upload, offset, size)
                except (Unreachable, PlatformFault) as error:
                    failure, answer = error, self.http.get(f"/uploads/{upload}")
                failures = 0 if int(answer["offset"]) > offset else failures + 1
                offset = int(answer["offset"])
                progress(name, offset, size)
                if failures >= self.http.retry.tries:
                    raise failure
                if failures:
                    time.sleep(self.http.retry.delay(failures))
        return answer

    def _send_chunk(self, stream: Any, upload: str, offset: int, size: int) -> Any:
        stream.seek(offset)
        chunk = stream.read(CHUNK_BYTES)
        if not chunk and offset < size:
            raise Corrupt("file_changed", "the file became shorter while it was sent")
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        try:
            # not repeated below here: after a cut the platform may hold a part of this chunk
            return self.http.json("PATCH", f"/uploads/{upload}", content=chunk, headers=headers, repeatable=False)
        except Conflict as conflict:
            if conflict.code != "offset_mismatch":
                raise
            return self.http.get(f"/uploads/{upload}")

    def upload_inputs(self, inputs: dict[str, Any], *, progress: Progress = no_progress) -> dict[str, Any]:
        """The same inputs, every `pathlib.Path` uploaded and replaced by its artifact's id, a folder by a list.

        Files of a folder keep their path below it as their name.
        """
        wanted = sorted(set(_paths_in(inputs)))
        if not wanted:
            return inputs
        with ThreadPoolExecutor(AT_ONCE) as workers:
            ids = workers.map(lambda pair: self.upload(pair[0], name=pair[1], progress=progress), wanted)
            known = dict(zip(wanted, ids, strict=True))
        return {name: _replaced(value, known) for name, value in inputs.items()}

    def artifacts(self, *, limit: int | None = None) -> Iterator[Artifact]:
        """The organization's artifacts, newest first."""
        return self.http.pages("/artifacts", most=limit)

    def artifact(self, artifact_id: str) -> ArtifactWhere:
        """An artifact, and where its bytes are: stores, caches, copies."""
        answer: ArtifactWhere = self.http.get(f"/artifacts/{artifact_id}")
        return answer

    def replicate(self, artifact_id: str, regions: Sequence[str]) -> ArtifactWhere:
        """Ask that copies be kept in these regions; asking again renews their time."""
        asked = {"regions": list(regions)}
        answer: ArtifactWhere = self.http.post(f"/artifacts/{artifact_id}/replicate", asked, repeatable=True)
        return answer

    def drop_replica(self, artifact_id: str, region: str) -> None:
        """Want no copy in this region any more."""
        self.http.send("DELETE", f"/artifacts/{artifact_id}/replicas/{region}")

    def pin(self, artifact_id: str, until: str) -> ArtifactWhere:
        """Keep it where it is held or cached, until a moment (RFC 3339)."""
        answer: ArtifactWhere = self.http.post(f"/artifacts/{artifact_id}/pin", {"until": until}, repeatable=True)
        return answer

    def unpin(self, artifact_id: str) -> None:
        """Let it be evicted again."""
        self.http.send("DELETE", f"/artifacts/{artifact_id}/pin")

    def delete_artifact(self, artifact_id: str) -> None:
        self.http.json("DELETE", f"/artifacts/{artifact_id}")


def _id_of(artifact: Any) -> str:
    return str(artifact["id"] if isinstance(artifact, dict) else artifact)


def _expanded(path: Path) -> list[tuple[Path, str]]:
    """(file, name) of a path: itself, or all files below it."""
    if path.is_dir():
        found = [(file, file.relative_to(path).as_posix()) for file in files_below(path)]
        if not found:
            raise BadFile("empty_folder", f"{path} holds no file")
        return found
    if not path.is_file():
        raise BadFile("no_such_file", f"{path} is not there, or is not a file")
    return [(path, path.name)]


def _paths_in(value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Path):
        yield from _expanded(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _paths_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _paths_in(inner)


def _replaced(value: Any, known: dict[tuple[Path, str], str]) -> Any:
    if isinstance(value, Path):
        ids = [known[pair] for pair in _expanded(value)]
        return ids if value.is_dir() else ids[0]
    if isinstance(value, dict):
        return {name: _replaced(inner, known) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [each for inner in value for each in _as_items(inner, known)]
    return value


def _as_items(value: Any, known: dict[tuple[Path, str], str]) -> list[Any]:
    """A folder inside a list joins the list with all its files."""
    replaced = _replaced(value, known)
    return replaced if isinstance(value, Path) and value.is_dir() else [replaced]

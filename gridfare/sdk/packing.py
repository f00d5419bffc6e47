"""A capability's folder as one archive: the same files give the same bytes, so publishing twice uploads once."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from gridfare.sdk.artifacts import files_below
from gridfare.sdk.errors import BadFile

LEFT_OUT = frozenset(
    {"__pycache__", ".git", ".hg", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"}
)


def manifest_of(folder: Path) -> str:
    """The text of the folder's manifest.yaml."""
    place = folder / "manifest.yaml"
    try:
        return place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadFile("no_manifest", f"{folder} holds no manifest.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("unreadable_file", f"{place}: {error}") from error


def pack(folder: Path) -> bytes:
    """The folder as .tar.gz: names sorted, no owners, no times, modes 644 or 755, caches left out."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as compressed,
        tarfile.open(mode="w", fileobj=compressed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in files_below(folder):
            _add(archive, path, path.relative_to(folder))
    return packed.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: Path) -> None:
    if LEFT_OUT.intersection(name.parts) or name.suffix == ".pyc":
        return
    entry = tarfile.TarInfo(name.as_posix())
    entry.size = path.stat().st_size
    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    with path.open("rb") as stream:
        archive.addfile(entry, stream)

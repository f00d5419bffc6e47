"""A capability's program: a .tar.gz of its folder, read with suspicion. Nothing is unpacked on the platform.

What is refused here never reaches a provider's machine: paths out of the folder, links that could lead out of
it, devices, and archives that unpack to much more than anybody would publish.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast

from core.errors import Invalid
from marketplace.paths import why_unsafe

MAX_PACKED: Final = 256 * 1024**2
MAX_UNPACKED: Final = 1024**3
MAX_MEMBERS: Final = 20_000
MAX_REQUIREMENTS: Final = 1024**2
MAX_TEST_FILE: Final = 64 * 1024**2
_ONE_READ: Final = 1024**2  # headers are read whole into memory: none needs to be larger
CODE: Final = "invalid_program"

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PINNED: Final = re.compile(
    rf"{_NAME}(?:\[{_NAME}(?:\s*,\s*{_NAME})*\])?\s*==\s*[A-Za-z0-9][A-Za-z0-9.!+_-]*"
    r"(?:\s*;(?:(?!--)[\w\s.'\"<>=!~()+*-])*?)?"  # an environment marker
    r"(?:\s+--hash=(?:sha256|sha384|sha512):[0-9a-f]{64,128})+"
)


class _Bounded:
    """A decompressed stream that ends an archive made to exhaust memory or time."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _ONE_READ:
            raise Invalid(CODE, "holds a header of more than 1 MiB")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        if offset < self._file.tell():
            raise Invalid(CODE, "holds a header that leads backwards")
        self._check(offset)
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, offset: int) -> None:
        if offset > MAX_UNPACKED + MAX_MEMBERS * 1024:
            raise Invalid(CODE, f"unpacks to more than {MAX_UNPACKED} bytes")


@contextmanager
def opened(packed: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """A program's archive, read within bounds; Invalid `invalid_program` for what is no .tar.gz."""
    try:
        with gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
            bounded = cast("IO[bytes]", _Bounded(unpacked))
            with tarfile.open(fileobj=bounded, mode="r:") as archive:
                yield archive
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise Invalid(CODE, f"is no readable .tar.gz ({type(error).__name__})") from None


def check_program(packed: IO[bytes]) -> set[str]:
    """The paths of its files.

    Raises Invalid `invalid_program` or `unsafe_path` naming the member at fault.
    """
    files: set[str] = set()
    links: dict[str, str] = {}
    size = 0
    with opened(packed) as archive:
        for number, member in enumerate(archive):
            size += max(0, member.size)
            if number >= MAX_MEMBERS or size > MAX_UNPACKED:
                raise Invalid(CODE, f"has more than {MAX_MEMBERS} members or {MAX_UNPACKED} bytes")
            _check_member(member, files, links)
    _check_links(files, links)
    return files


def _check_member(member: tarfile.TarInfo, files: set[str], links: dict[str, str]) -> None:
    """Names of members; a leading ./ and the folder itself are what tar writes for `tar -C folder .`."""
    if member.isdir() and member.name in {".", "./", ""}:
        return
    path = member.name.removeprefix("./")
    if (why := why_unsafe(path)) is not None:
        raise Invalid("unsafe_path", f"the member {member.name[:100]!r} of the program {why}")
    if path in files or path in links:
        raise Invalid(CODE, f"holds {path!r} twice")
    if member.issym() or member.islnk():
        links[path] = member.linkname.removeprefix("./")
    elif member.isreg():
        files.add(path)
    elif not member.isdir():
        raise Invalid(CODE, f"holds {path!r}, which is no file, folder or link")


def _check_links(files: set[str], links: dict[str, str]) -> None:
    """Links may only go down: a target without .., and nothing packed below a link, can never lead out."""
    for path, target in links.items():
        if why_unsafe(target) is not None:
            raise Invalid("unsafe_path", f"the link {path!r} of the program leads out of its folder")
    for path in (*files, *links, *links.values()):
        if any(str(parent) in links for parent in PurePosixPath(path).parents):
            raise Invalid(CODE, f"{path!r} lies below a link")


def read_member(packed: IO[bytes], path: str, most: int) -> bytes:
    """One file of a program.

    Raises Invalid `file_missing` when it holds none of that path, or a larger one.
    """
    with opened(packed) as archive:
        for member in archive:
            if member.isreg() and member.name.removeprefix("./") == path:
                return _content(archive, member, most)
    raise Invalid("file_missing", f"the program holds no file {path!r}")


def read_members(packed: IO[bytes], paths: set[str], most: int) -> dict[str, bytes]:
    """Several files of a program in one pass, at most `most` bytes each; those it lacks are left out."""
    with opened(packed) as archive:
        found = {}
        for member in archive:
            path = member.name.removeprefix("./")
            if member.isreg() and path in paths:
                found[path] = _content(archive, member, most)
        return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    if member.size > most:
        raise Invalid(CODE, f"{member.name!r} has more than {most} bytes")
    stream: Any = archive.extractfile(member)
    return b"".join(iter(lambda: stream.read(64 * 1024), b""))


def check_requirements(text: str) -> str:
    """The same text, if every line pins a package: `name==version --hash=sha256:...`, and nothing else.

    Options and URLs are refused: a provider's machine installs from where its owner chose, and only what the
    publisher has tested. Raises Invalid `invalid_requirements`.
    """
    if re.search(r"#.*\\\s*$", text, re.MULTILINE):
        raise Invalid(
            "invalid_requirements", "a comment may not end with a backslash: tools differ on what follows"
        )
    joined = re.sub(r"\\\r?\n", " ", text)
    for number, line in enumerate(joined.splitlines(), 1):
        wanted = re.sub(r"(^|\s)#.*$", "", line).strip()
        if wanted and not _PINNED.fullmatch(wanted):
            detail = (
                f"{wanted[:80]!r} must be name==version --hash=sha256:..., and nothing else (entry {number})"
            )
            raise Invalid("invalid_requirements", detail)
    return text

"""Relative paths and globs that cannot leave the folder they are joined to.

Every name that comes from outside (artifact names, manifests, archive members, outputs) passes here before it
is stored, so what is in the database is safe on every machine it travels to, whatever its operating system.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from core.errors import Invalid

MAX_PATH: Final = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"^[A-Za-z]:")


def why_unsafe(text: str, longest: int = MAX_PATH) -> str | None:
    """What is wrong with a relative path, as the end of a sentence, or None.

    >>> why_unsafe("frames/../../etc/passwd")
    'holds ..'
    """
    if not text or len(text.encode(errors="replace")) > longest:
        return f"must have 1 to {longest} bytes"
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text) or _CONTROL.search(text):
        return "holds characters that are not text"
    if "\\" in text:
        return "holds a backslash"
    if text.startswith("/") or _DRIVE.match(text):
        return "is absolute"
    return _why_parts_unsafe(text.split("/"))


def _why_parts_unsafe(parts: list[str]) -> str | None:
    if ".." in parts:
        return "holds .."
    if "" in parts or "." in parts:
        return "holds an empty part or a single dot"
    return None


def safe_path(text: str, *, field: str | None = None, longest: int = MAX_PATH) -> str:
    """The same relative path, or Invalid `unsafe_path`. Its form is canonical: one file has one path."""
    if (why := why_unsafe(text, longest)) is not None:
        raise Invalid("unsafe_path", f"the path {text[:100]!r} {why}", field=field)
    return text


def safe_glob(text: str, *, field: str | None = None) -> str:
    """The same glob (`*`, `?`, `[...]`, and `**` as a whole part), or Invalid `unsafe_path`."""
    safe_path(text, field=field)
    if any("**" in part and part != "**" for part in text.split("/")):
        raise Invalid("unsafe_path", f"in {text[:100]!r}, ** must stand alone between slashes", field=field)
    return text


def clash_in(paths: Iterable[str]) -> str | None:
    """A path that is there twice, or is a file and a folder at once; None when all can lie in one folder.

    >>> clash_in(["a/b", "a"])
    'a'
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        above = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
        if path in seen or path in folders:
            return path
        if taken := seen.intersection(above):
            return min(taken)
        seen.add(path)
        folders.update(above)
    return None


def matches(glob: str, path: str) -> bool:
    """Does the glob match the whole path? `*` and `?` stay within a part, `**` takes any number of parts.

    >>> matches("units/**/*.png", "units/0/frames/a.png")
    True
    """
    return _match_parts(glob.split("/"), path.split("/"))


def _match_parts(globs: list[str], parts: list[str]) -> bool:
    """Table over (glob part, path part), so that many ** cost a product, never an exponential."""
    reach = [True] + [False] * len(parts)  # reach[i]: the globs so far can take the first i parts
    for glob in globs:
        if glob == "**":
            first = reach.index(True) if True in reach else len(reach)
            reach = [index >= first for index in range(len(reach))]
        else:
            one = _part_pattern(glob)
            reach = [
                False,
                *(ok and bool(one.fullmatch(part)) for ok, part in zip(reach, parts, strict=False)),
            ]
    return reach[-1]


@lru_cache(maxsize=1024)
def _part_pattern(glob: str) -> re.Pattern[str]:
    """One part of a glob. fnmatch joins stars by atomic groups, so matching never backtracks across them."""
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", glob)))

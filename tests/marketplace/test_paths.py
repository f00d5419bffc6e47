"""Paths from outside never leave their folder; globs match as the agents' do."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.paths import clash_in, matches, safe_glob, safe_path, why_unsafe

TRICKY = st.text(alphabet=st.sampled_from("ab./\\:~\x00\n\x7f é\ud800"), max_size=12)


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "..", "../a", "a/../b", "a/..", "a/.", "./a", "a//b", "a/", "C:/x", "c:x", "a\\b",
        "\\\\host\\x",
        "a\x00b", "a\nb", "a\x7f", "é" * 128, "x" * 256, "\ud800",
    ],
)  # fmt: skip
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(Invalid) as caught:
        safe_path(path, field="name")
    assert caught.value.code == "unsafe_path"
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    "path", ["a", "a/b.txt", "...", "..a/b..", "数据/图.png", "a b/c", "~", "-rf", ".hidden", "x" * 255]
)
def test_ordinary_paths_are_kept_as_they_are(path: str) -> None:
    assert safe_path(path) == path


@settings(deadline=None)
@given(TRICKY)
def test_a_path_that_passes_stays_below_any_folder_in_one_form(path: str) -> None:
    if why_unsafe(path) is None:
        joined = posixpath.normpath(posixpath.join("/base", path))
        assert joined.startswith("/base/")
        assert posixpath.relpath(joined, "/base") == path


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.png", "a.png", True),
        ("*.png", "b/a.png", False),
        ("**/*.png", "a.png", True),
        ("**/*.png", "x/y/a.png", True),
        ("units/*/word.txt", "units/3/word.txt", True),
        ("units/**", "units/3/word.txt", True),
        ("a/**/b/**/c", "a/x/b/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("frame_[0-9].png", "frame_7.png", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a", "a/b", False),
    ],
)
def test_globs_match_whole_paths(glob: str, path: str, expected: bool) -> None:
    assert matches(glob, path) is expected


def test_a_glob_of_many_stars_ends_at_once() -> None:
    glob = "/".join(["**", "a*a*a*a*a*b"] * 10)
    assert not matches(glob, "/".join(["a" * 30] * 40))


@pytest.mark.parametrize("glob", ["a**/b", "**b", "../*", "/*"])
def test_odd_globs_are_refused(glob: str) -> None:
    with pytest.raises(Invalid):
        safe_glob(glob)


@pytest.mark.parametrize(
    ("paths", "clash"),
    [(["a", "b"], None), (["a", "a"], "a"), (["a", "a/b"], "a"), (["a/b/c", "a/b"], "a/b"), (["a/b", "a/c"], None)],
)
def test_two_files_that_cannot_lie_in_one_folder_are_found(paths: list[str], clash: str | None) -> None:
    assert clash_in(paths) == clash

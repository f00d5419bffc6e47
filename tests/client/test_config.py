"""What `gridfare login` remembers, and who gets to see a key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gridfare import config
from gridfare.client import Client, find_access
from gridfare.sdk.errors import NotLoggedIn


def stored(name: str = "default", url: str = "https://one.example", key: str = "gf_one_key") -> None:
    known = config.load()
    known.profiles[name] = config.Profile(url, key)
    config.save(known)


def test_the_file_is_for_its_owner_alone() -> None:
    stored()
    assert stat.S_IMODE(config.place().stat().st_mode) == 0o600
    assert [path.name for path in config.place().parent.iterdir()] == ["config.toml"]


def test_odd_names_survive() -> None:
    odd = config.Config('my "other"\n名', {'my "other"\n名': config.Profile("https://x", "k\\e\x7f", "alice", "acme")})
    config.save(odd)
    assert config.load() == odd


def test_what_is_given_beats_the_environment_which_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stored()
    assert find_access() == ("https://one.example", "gf_one_key")
    monkeypatch.setenv("GRIDFARE_URL", "https://two.example/")
    monkeypatch.setenv("GRIDFARE_KEY", "gf_two_key")
    assert find_access() == ("https://two.example", "gf_two_key")
    assert find_access("https://three.example", "gf_three_key") == ("https://three.example", "gf_three_key")


def test_a_stored_key_is_not_told_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    stored()
    monkeypatch.setenv("GRIDFARE_URL", "https://mallory.example")
    with pytest.raises(NotLoggedIn):
        find_access()


def test_profiles_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stored()
    stored("work", "https://work.example", "gf_work_key")
    assert find_access(profile="work") == ("https://work.example", "gf_work_key")
    monkeypatch.setenv("GRIDFARE_PROFILE", "work")
    assert find_access() == ("https://work.example", "gf_work_key")


def test_without_any_login_the_error_says_what_to_do() -> None:
    with pytest.raises(NotLoggedIn, match="gridfare login"):
        Client()


@pytest.mark.parametrize("text", ["not toml", "[profiles.default]\nurl = 'x'\n", "profiles = 3\n"])
def test_a_file_that_cannot_be_understood_is_named(text: str, tmp_path: Path) -> None:
    config.place().parent.mkdir(parents=True)
    config.place().write_text(text)
    with pytest.raises(ValueError, match="config.toml cannot be understood"):
        config.load()

"""What `gridfare login` remembers: a TOML file that only its owner can read.

    current = "default"

    [profiles."default"]
    url = "https://gridfare.example"
    key = "gf_..."

Its place is GRIDFARE_CONFIG, else `gridfare/config.toml` below XDG_CONFIG_HOME, else below ~/.config.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

DEFAULT = "default"


@dataclass(frozen=True)
class Profile:
    """One platform, and the key for it."""

    url: str
    key: str
    username: str = ""
    organization: str = ""


@dataclass
class Config:
    """All profiles, and the one in use."""

    current: str = DEFAULT
    profiles: dict[str, Profile] = field(default_factory=dict)

    def name(self, asked: str | None = None) -> str:
        return asked or os.environ.get("GRIDFARE_PROFILE") or self.current

    def get(self, asked: str | None = None) -> Profile | None:
        """The profile asked for, else GRIDFARE_PROFILE, else the current one; None when there is none."""
        return self.profiles.get(self.name(asked))


def place() -> Path:
    """Where the file is."""
    if named := os.environ.get("GRIDFARE_CONFIG"):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "gridfare" / "config.toml"


def load() -> Config:
    """The stored configuration; empty when there is none. ValueError when it cannot be understood."""
    try:
        data = tomllib.loads(place().read_text(encoding="utf-8"))
        profiles = {name: Profile(**values) for name, values in data.get("profiles", {}).items()}
    except FileNotFoundError:
        return Config()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise ValueError(f"{place()} cannot be understood: {error}") from None
    return Config(str(data.get("current", DEFAULT)), profiles)


def save(config: Config) -> None:
    """Write it whole or not at all, readable by its owner alone from the first byte on."""
    target = place()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=".config-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(_toml(config))
        Path(scratch).replace(target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _toml(config: Config) -> str:
    lines = [f"current = {_text(config.current)}"]
    for name, profile in sorted(config.profiles.items()):
        lines += ["", f"[profiles.{_text(name)}]"]
        lines += [f"{key} = {_text(value)}" for key, value in asdict(profile).items() if value]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string: JSON's, but DEL is escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

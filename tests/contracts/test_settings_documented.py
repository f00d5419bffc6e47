"""docs/settings.md names every setting that the environment can give, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r"""\benv(?:_bool|_int|_amounts)?\(\s*["']([A-Z][A-Z0-9_]+)["']""")
DOCUMENTED = re.compile(r"^\| `([A-Z][A-Z0-9_]+)`", re.MULTILINE)


def names_read() -> set[str]:
    return set(READ.findall((ROOT / "config" / "settings.py").read_text()))


def names_documented() -> list[str]:
    return DOCUMENTED.findall((ROOT / "docs" / "settings.md").read_text())


def test_every_setting_is_documented_once_and_no_other() -> None:
    assert len(names_documented()) == len(set(names_documented()))
    assert set(names_documented()) == names_read()


def test_the_search_finds_settings_at_all() -> None:
    assert {"DATABASE_URL", "GRIDFARE_SECRET_KEY", "GRIDFARE_LEASE_SECONDS", "GRIDFARE_DEBUG"} <= names_read()

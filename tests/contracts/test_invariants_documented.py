"""What the documents of money say keeps an invariant is there: the trigger or constraint in PostgreSQL, and the test."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {path.name: path.read_text() for path in (ROOT / "docs" / "billing").glob("*.md")}
LINES = [line.split("|") for line in DOCUMENTS["ledger.md"].splitlines() if re.match(r"\| I\d+ \|", line)]
ROWS = {number.strip(): (mechanism, test) for _, number, _, mechanism, test, _ in LINES}
TEST = re.compile(r"`(?:[\w/]*/)?(test_\w+)(?:\.py)?`")
NAME = re.compile(r"`([a-z]+(?:_[a-z]+)*_(?:[a-z]+|\*))`")
KNOWN = """SELECT tgname FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal
            UNION SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class WHERE relkind = 'i'"""


def test_every_invariant_names_a_mechanism_and_a_test() -> None:
    assert list(ROWS) == [f"I{number}" for number in range(1, 16)]
    assert all(mechanism.strip() and TEST.search(test) for mechanism, test in ROWS.values())


def test_every_test_that_a_document_names_is_there() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {path.stem for path in files}.union(*(re.findall(r"def (test_\w+)\(", path.read_text()) for path in files))
    assert {name: missing for name, text in DOCUMENTS.items() if (missing := sorted(set(TEST.findall(text)) - there))} == {}


@pytest.mark.django_db
def test_every_trigger_and_constraint_that_the_table_names_is_in_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute(KNOWN)
        there = {name for (name,) in cursor.fetchall()}
    named = {name for mechanism, _ in ROWS.values() for name in NAME.findall(mechanism)}
    assert [name for name in sorted(named) if not any(fnmatch(known, name) for known in there)] == []
    assert len(named) > 20

"""What is deployed: the settings of a real market pass Django's own check, and nothing waits to be migrated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "DATABASE_URL": "postgresql://gridfare:secret@db.example.org:5432/gridfare",
    "REDIS_URL": "redis://redis.example.org:6379/0",
    "GRIDFARE_PRODUCTION": "1",
    "GRIDFARE_SECRET_KEY": "".join(chr(33 + number) for number in range(1, 90)),
    "GRIDFARE_BASE_URL": "https://market.example.org",
    "GRIDFARE_ALLOWED_HOSTS": "market.example.org",
}


def manage(tmp_path: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """manage.py in a process of its own, with nothing of this one's environment but the way to programs."""
    given = PRODUCTION | {"GRIDFARE_DATA": str(tmp_path), "PATH": os.environ["PATH"]} | changes
    environment = {name: value for name, value in given.items() if value}
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_settings_of_production_pass_the_check_for_deployment(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    told = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert told.returncode == 0, told.stderr
    assert "no issues" in told.stdout


def test_production_without_a_secret_key_does_not_start(tmp_path: Path) -> None:
    told = manage(tmp_path, "check", GRIDFARE_SECRET_KEY="")
    assert told.returncode != 0
    assert "GRIDFARE_SECRET_KEY must be set in production" in told.stderr


def test_the_settings_used_here_are_documented() -> None:
    documented = re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert set(PRODUCTION) <= set(documented)


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration() -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_every_migration_has_been_run_forward_on_an_empty_database() -> None:
    executor = MigrationExecutor(connection)
    assert executor.loader.detect_conflicts() == {}
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    assert executor.loader.check_consistent_history(connection) is None

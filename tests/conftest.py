"""Points the tests at a database of their own before Django is set up.

Light on purpose: tests/agent and tests/capabilities run without Django, so nothing of it is imported here.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {"journeys": "stacks", "stack": "stacks", "agent": "agent", "capabilities": "capabilities"}
LONGEST = ("journeys", "stack", "agent", "capabilities", "contracts")  # folders, in the order in which their tests are begun
WITHOUT_DJANGO = ("agent", "capabilities", "client")
REFUSES_DELETE = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
WHERE NOT tgisinternal AND tgenabled = 'A' AND tgrelid::regclass::text = ANY(%s)
"""
KEPT = {"django_migrations", "django_content_type", "auth_permission"}  # the regions are written anew: tests change them
TABLES: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Real PostgreSQL and Redis: those of DATABASE_URL and REDIS_URL, or embedded ones in .gridfare/test."""
    _keep_bytecode()
    if _only_without_django(config.args):
        return
    os.environ.setdefault("GRIDFARE_DATA", str(ROOT / ".gridfare" / "test"))
    _point_at_servers()
    _keep_apart(os.environ.get("PYTEST_XDIST_WORKER", ""))
    Path(os.environ["GRIDFARE_DATA"], "static").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    _empty_instead_of_flushing()
    _find_static_files_once()
    _hash_passwords_quickly()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest folders are begun first, whole: what is left at the end is short, and two processes end together."""
    items.sort(key=lambda item: _rank(_folder(item.nodeid)))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: Any
) -> None:
    """Side by side, one process runs the migrations, into a template; the databases of all are copies of it."""
    from django.db import connection

    if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        from core.embedded import folder_lock

        with django_db_blocker.unblock(), folder_lock(ROOT / ".gridfare" / "test"):
            connection.settings_dict["TEST"]["TEMPLATE"] = _template(run[:8])


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Sessions that threads of tests left are ended with the tests: PostgreSQL would wait five seconds for them, and keep all."""
    from django.db import connection

    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def pytest_collection_finish() -> None:
    """What is there now stays to the end: the collector of garbage need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side (`-n 3`), a file stays in one process; so do the journeys with all that starts whole stacks, who share
    their market; the agent's tests, of which some use up all processes that a user may have; and the capabilities, who
    share their environments.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(_folder(nodeid)) or nodeid.partition("::")[0]

    return Together(config, log)


def _folder(nodeid: str) -> str:
    return nodeid.split("/")[1]


def _rank(folder: str) -> int:
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


def _only_without_django(args: list[str]) -> bool:
    folders = tuple(str(ROOT / "tests" / name) for name in WITHOUT_DJANGO)
    return bool(args) and all(str(Path(arg.split("::")[0]).resolve()).startswith(folders) for arg in args)


def _point_at_servers() -> None:
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return
    from core.embedded import ensure

    urls = ensure(ROOT / ".gridfare" / "test", durable=False)
    os.environ.setdefault("DATABASE_URL", urls.database_url)
    os.environ.setdefault("REDIS_URL", urls.redis_url)


def _keep_apart(worker: str) -> None:
    """Processes that test side by side (gw0, gw1 ...) share the servers, and nothing in them: Django names the databases."""
    if not worker:
        return
    os.environ["GRIDFARE_DATA"] = str(Path(os.environ["GRIDFARE_DATA"]) / worker)
    address, _, number = os.environ["REDIS_URL"].rpartition("/")
    os.environ["REDIS_URL"] = f"{address}/{int(number or 0) + 1 + int(worker.removeprefix('gw'))}"


def _keep_bytecode() -> None:
    """Parts of the market are started hundreds of times; told to keep no bytecode, each compiles all that it imports."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _template(run: str) -> str:
    """The name of this run's migrated database, made when it is not there; those of other runs go."""
    from django.core.management import call_command
    from django.db import connection

    before = connection.settings_dict["NAME"]
    start = f"{os.environ.get('TEST_DATABASE_NAME') or f'test_{before}'}_template_"
    with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [start])
        found = {name for (name,) in cursor}
        for name in found - {start + run}:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        if start + run in found:
            return start + run
        cursor.execute(f'CREATE DATABASE "{start}{run}"')
    connection.close()
    connection.settings_dict["NAME"] = start + run
    call_command("migrate", verbosity=0, interactive=False)
    connection.close()
    connection.settings_dict["NAME"] = before
    return start + run


def _empty_instead_of_flushing() -> None:
    """Tests with real transactions end with every row gone but what the migrations wrote.

    Django would truncate every table (a quarter of a second here) and write content types and permissions anew; a test
    leaves rows in a few. Triggers that refuse (append-only), and foreign keys, look away just then.
    """
    from django.apps import apps
    from django.db import connection, transaction
    from django.test import TransactionTestCase

    from marketplace.carbon import load_carbon
    from marketplace.regions import load_regions

    def empty(self: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            tables = _written_tables(cursor)
            cursor.execute(REFUSES_DELETE, [tables])
            triggers = cursor.fetchall()
            doing = [f"ALTER TABLE {table} DISABLE TRIGGER {name}" for table, name in triggers]
            doing += ["SET LOCAL session_replication_role = replica", *(f"DELETE FROM {table}" for table in tables)]
            doing += [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for table, name in triggers]
            cursor.execute("; ".join([*doing, "SET LOCAL session_replication_role = origin"]))
            load_regions(apps)
            load_carbon(apps)

    case: Any = TransactionTestCase
    case._fixture_teardown = empty


def _written_tables(cursor: Any) -> list[str]:
    """Tables that hold rows of the test."""
    if not TABLES:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        TABLES.extend(sorted({name for (name,) in cursor} - KEPT))
    cursor.execute(" UNION ALL ".join(f"(SELECT '{name}' FROM {name} LIMIT 1)" for name in TABLES))
    return [name for (name,) in cursor]


def _find_static_files_once() -> None:
    """Every test's client loads the middleware anew, and WhiteNoise's then looks at every static file there is."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    middleware: Any = WhiteNoiseMiddleware
    look, found = middleware.add_files_from_finders, {}

    def add_files_from_finders(self: Any) -> None:
        if not found:
            look(self)
            found.update(self.files)
        self.files.update(found)

    middleware.add_files_from_finders = add_files_from_finders


def _hash_passwords_quickly() -> None:
    """The hash of production with one round of it; a million of them take half a second, for every log-in of a test."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1

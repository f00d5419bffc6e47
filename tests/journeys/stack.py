"""The whole market as processes: own PostgreSQL and Redis, web, worker, beat, and agents that speak only HTTP.

The parts are those of `make up` (core/stack), in a folder of their own. All end with the test's process, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from core.embedded import folder_lock, servers
from core.embedded.postgres import Postgres
from core.embedded.process import tail
from core.embedded.redis import Redis
from core.stack import plan
from core.stack.child import Child
from core.stack.plan import Layout
from core.stack.ports import HOST
from core.stack.show import Show
from core.stack.supervisor import Step, Supervisor

LEASE_S = 8
# What `make up` does in two steps: the tables, then the demo market.
PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", interactive=False, verbosity=0)
call_command("seed_demo")
"""
START_S = 120.0


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


class Stack:
    """The processes by name: postgres, redis, web, worker, beat, and `agent-<name>` for each agent."""

    def __init__(self, data: Path) -> None:
        self.layout = Layout(data)
        self.port = free_port()
        self.url = plan.base_url(self.port)
        self.supervisor = Supervisor(Show(), self.layout.logs)
        self.postgres, self.redis = servers(data)
        self.environment: dict[str, str] = {}
        self.seeded = ""
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._look_after, name="supervisor", daemon=True)

    def start(self) -> None:
        """Everything but agents, ready to be asked."""
        self.layout.make()
        (self.layout.data / "static").mkdir()
        try:
            self._start_platform()
        except BaseException:
            self.supervisor.stop()
            raise
        self._watch.start()

    def _start_platform(self) -> None:
        self._add_server(self.postgres)
        self._add_server(self.redis)
        self.wait(lambda: self.postgres.ready() and self.redis.ready(), "the servers are not ready", "postgres")
        self.postgres.create_database()
        platform = plan.platform_environment(self.layout, self.port, self.postgres.url, self.redis.url)
        self.environment = {**platform, "GRIDFARE_LEASE_SECONDS": str(LEASE_S), "GRIDFARE_REGION": "beijing"}
        self.environment["GRIDFARE_LARGE_BYTES"] = "1000000"  # so that small files show where data matter
        self.environment["GRIDFARE_WEBHOOK_PRIVATE"] = "1"  # receivers listen on this machine
        self.add("web", lambda: plan.web_command(self.port), wave=1)
        self.seeded = self.step("prepare", [sys.executable, "-c", PREPARE])
        self.add("worker", plan.worker_command, wave=2)
        self.add("beat", lambda: plan.beat_command(self.layout), wave=2)
        self.wait(self.answers, "the web server is not ready", "web")

    def stop(self) -> None:
        """Ends everything, agents first."""
        self._ending.set()
        if self._watch.is_alive():
            self._watch.join(120)

    def _look_after(self) -> None:
        """The kernel ends a child with the thread that started it, so this one starts again and stops, too."""
        try:
            while not self._ending.wait(0.1):
                self.supervisor.tick()
        finally:
            self.supervisor.stop()

    # -- processes --------------------------------------------------------------------------------------------

    def _add_server(self, server: Postgres | Redis) -> None:
        def command() -> Sequence[str]:
            with folder_lock(self.layout.data):
                server.prepare()
            return server.command()

        self.add(server.name, command, environment=dict(os.environ), stop_signal=server.stop_signal, running=server.pid)

    def add(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        *,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Starts a process that is started again when it dies."""
        self.supervisor.add(
            Child(
                name,
                command,
                self.layout.log(name),
                self.layout.pid_file(name),
                environment or self.environment,
                plan.working_folder(),
                **options,
            )
        )

    def step(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        """Runs a program to its end; returns what it printed."""
        output = self.layout.run / f"{name}.out"
        output.unlink(missing_ok=True)
        log = self.layout.log(name)
        step = Step(command, environment or self.environment, plan.working_folder(), log, output)
        process = step.start()
        code = process.wait(START_S)
        assert code == 0, f"{name} ended with {code}: {output.read_text()}\n{tail(log, 30)}"
        return output.read_text()

    def wait(self, ready: Callable[[], object], what: str, log: str, seconds: float = START_S) -> None:
        """Waits for something that comes true; fails with the end of a log when it does not."""
        until = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < until, f"{what}\n{tail(self.layout.log(log), 30)}"
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the web server is ready."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def child(self, name: str) -> Child:
        """A supervised process."""
        return next(child for child in self.supervisor.children if child.name == name)

    def pid(self, name: str) -> int:
        """The number of a process that runs."""
        pid = self.child(name).pid
        assert pid is not None
        return pid

    def kill(self, name: str) -> None:
        """SIGKILL; returns once the supervisor has started it again."""
        child = self.child(name)
        restarts = child.restarts
        os.kill(self.pid(name), signal.SIGKILL)
        self.wait(lambda: child.restarts > restarts, f"{name} is not started again", name, 30)

    # -- agents -----------------------------------------------------------------------------------------------

    def join(self, tokens: dict[str, str], machine: Callable[[list[str]], list[str]] = list) -> None:
        """Enrols machines, all at the same time, as `gridfare agent join` does; `machine` may change the command."""
        environment = plan.agent_environment(self.environment, self.port)
        options = ["--cores", "2", "--memory-mib", "2048", "--disk-mib", "4096", "--benchmark-s", "0.05"]
        steps = []
        for name, token in tokens.items():
            self.layout.agent_home(name).mkdir(parents=True)
            command = machine([*plan.join_command(self.layout, self.port, name, token), *options])
            log = self.layout.log(f"join-{name}")
            steps.append((log, Step(command, environment, plan.working_folder(), log).start()))
        for log, process in steps:
            assert process.wait(START_S) == 0, tail(log, 30)

    def run_agent(self, name: str, machine: Callable[[list[str]], list[str]] = list) -> None:
        """Starts the agent of a machine that has joined."""
        environment = plan.agent_environment(self.environment, self.port)
        command = machine(plan.agent_command(self.layout, name))
        self.add(f"agent-{name}", lambda: command, environment=environment, wave=3)

    def dismiss(self, name: str) -> None:
        """Ends a process for good."""
        child = self.child(name)
        self.supervisor.children.remove(child)
        child.ask_to_stop()
        child.stop()

    # -- looking ----------------------------------------------------------------------------------------------

    def cli(self, *words: str, profile: str = "alice", **options: Any) -> subprocess.CompletedProcess[str]:
        """`gridfare <words>` in a process, with a person's own configuration file."""
        return subprocess.run(
            [sys.executable, "-m", "gridfare", *words],
            env=self.person(profile),
            cwd=plan.working_folder(),
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    def person(self, profile: str) -> dict[str, str]:
        """The environment of somebody at a terminal of their own."""
        kept = {key: value for key, value in plan.agent_environment(self.environment, self.port).items() if key != "GRIDFARE_URL"}
        return {**kept, "GRIDFARE_CONFIG": str(self.layout.data / f"{profile}.toml"), "COLUMNS": "120"}

    def rows(self, sql: str, values: Any = ()) -> list[dict[str, Any]]:
        """What the database itself says."""
        with psycopg.connect(self.postgres.url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(sql, values).fetchall()

    def execute(self, sql: str, values: dict[str, Any] | None = None) -> None:
        """Changes rows behind the market's back, in one transaction."""
        with psycopg.connect(self.postgres.url, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute(sql, values)

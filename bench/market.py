"""A market of its own for one benchmark: embedded servers in a scratch folder, and the real processes over it.

Nothing is shared with other markets on the machine, and nothing is left behind. Everything is done through the
public doors: HTTP for people and agents, `manage.py` for the demo's parties.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import embedded
from core.embedded.process import tail, tied
from core.stack import plan
from core.stack.ports import HOST, choose_port
from demo.accounts import Cast, log_in_all
from gridfare.client import Client

COMMAND = "gridfare/command"
FOLDER = plan.working_folder() / "capabilities" / "command"
RATES = {"core_second": "0.01"}  # dear enough that a unit of a millisecond costs some micro-units
POOLS = ("west", "east")


@dataclass
class Market:
    """A running market: its processes by name, its people, its agents' folders."""

    folder: Path
    port: int
    urls: embedded.Urls
    layout: plan.Layout
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    cast: Cast | None = None

    @property
    def url(self) -> str:
        return plan.base_url(self.port)

    @property
    def people(self) -> Cast:
        """alice asks, bob provides, carol publishes, olga operates; each logged in."""
        if self.cast is None:
            self.cast = log_in_all(self.url)
        return self.cast

    def start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start a process that ends with this one; its output goes to logs/<name>.log."""
        with self.layout.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(
                tied(command, signal.SIGTERM), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**(environment or self.environment), "PGAPPNAME": name}, cwd=plan.working_folder(), start_new_session=True,
            )  # fmt: skip

    def run(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Run a process to its end; its log is shown when it fails."""
        self.start(name, command, environment)
        if code := self.processes.pop(name).wait():
            raise SystemExit(f"{name} ended with {code}:\n{tail(self.layout.log(name), 30)}")

    def stop(self, *names: str) -> None:
        """End processes in order: all are asked, then waited for."""
        ending = [self.processes.pop(name) for name in names]
        for process in ending:
            process.terminate()
        for process in ending:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start_platform(self) -> None:
        """Web, worker and beat, as `make up` starts them."""
        self.start("web", plan.web_command(self.port))
        self.start("worker", plan.worker_command())
        self.start("beat", plan.beat_command(self.layout))
        wait_for(lambda: _answers(self.port, "/readyz"), 90, "the web server is not ready")

    def join(self, name: str, cores: int, memory_mib: int = 2048) -> None:
        """A pool of bob's with its price, an agent's folder that has joined it, and olga's approval."""
        bob, region = self.people.bob, "ningxia"
        pool = bob.create_pool(name, region, bandwidth_mbps=10_000)["identifier"]
        bob.create_offer(pool, "consumption", RATES)
        token = bob.join_token(pool)["token"]
        command = [*_agent("join"), self.url, token, "--home", str(self.home(name)), "--name", name]
        command += ["--cores", str(cores), "--memory-mib", str(memory_mib), "--benchmark-s", "0.1"]
        self.run(f"join-{name}", command, self.agent_environment)
        self.people.olga.move_pool(pool, "activate")

    @property
    def agent_environment(self) -> dict[str, str]:
        return plan.agent_environment(self.environment, self.port)

    def home(self, name: str) -> Path:
        return self.layout.agent_home(name)

    def start_agents(self, executor: str) -> None:
        """One real agent process for each pool."""
        for name in POOLS:
            command = [*_agent("run"), "--home", str(self.home(name)), "--executor", executor]
            self.start(f"agent-{name}", command, self.agent_environment)

    def stop_agents(self) -> None:
        self.stop(*(f"agent-{name}" for name in POOLS))

    def pids(self) -> dict[str, int]:
        """Every process of the market by name, servers included."""
        servers = {server.name: server.pid() or 0 for server in embedded.servers(self.folder)}
        return servers | {name: process.pid for name, process in self.processes.items()}

    def publish(self) -> None:
        """The `command` capability, tested on a pool like any other; its agents must run."""
        full = f"{COMMAND}@{self.people.carol.draft_capability(FOLDER)['version']}"
        self.people.olga.move_capability(full, "trust")
        self.people.carol.publish_capability(FOLDER, timeout=120)

    def deliver(self, units: int, argv: Sequence[str], seconds: float, expected_s: float) -> tuple[float, dict[str, Any]]:
        """Submit one task over HTTP and wait for its result and its final cost. Returns seconds of wall time, and the task."""
        inputs = {"argv": list(argv), "count": units, "memory_mib": 16, "disk_mib": 16, "expected_s": expected_s}
        client: Client = self.people.alice
        began = time.perf_counter()
        task: Any = client.wait(client.submit(COMMAND, inputs)["id"], seconds, settle_s=seconds)
        wall = time.perf_counter() - began
        if task["state"] != "delivered" or not task["cost"]["final"] or task["progress"]["units_done"] != units:
            raise SystemExit(f"the task was not delivered and charged: {task['state']} {task['reason']} {task['cost']}")
        return wall, task


@contextmanager
def scratch_market(*, cores: int, memory_mib: int = 2048) -> Iterator[Market]:
    """A market with two pools of an agent each and the `command` capability published; agents are stopped again."""
    folder = Path(tempfile.mkdtemp(prefix="gridfare-bench-"))
    layout = plan.Layout(folder)
    layout.make()
    urls = embedded.ensure(folder)
    port = choose_port("")
    environment = plan.platform_environment(layout, port, urls.database_url, urls.redis_url)
    market = Market(folder, port, urls, layout, environment | {"GRIDFARE_LOG_LEVEL": "WARNING"})
    try:
        market.run("migrate", plan.MIGRATE)
        market.run("seed", plan.SEED)
        market.start_platform()
        for name in POOLS:
            market.join(name, cores, memory_mib)
        market.start_agents("process")
        market.publish()
        market.stop_agents()
        yield market
    finally:
        market.stop(*reversed(market.processes))
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(ready: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Poll until ready, or end with the complaint."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise SystemExit(complaint)
        time.sleep(0.1)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _agent(verb: str) -> list[str]:
    return [*plan.agent_command(plan.Layout(Path()), "")[:4], verb]


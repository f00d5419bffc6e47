"""What runs: the folder's layout, the environment of each process, and the command lines."""

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.embedded import ROOT
from core.stack.ports import HOST

# The main job. It talks to the terminal itself; its exit code is that of `make up ONCE=1`.
DEMO = (sys.executable, "-m", "demo")
# Makes the demo market, as often as you like. Its last line of output is JSON:
# {"agents": [{"name": "...", "token": "..." or null where the pool has its agent}]}
SEED = (sys.executable, "manage.py", "seed_demo", "--network", "--month", "--index")
# How many agents of the demo share this machine.
AGENTS = 3
# The demo's largest unit fits into it.
LEAST_MEMORY_MIB = 1024
MIGRATE = (sys.executable, "manage.py", "migrate", "--no-input")
# What the platform's processes know and an agent's must not: it speaks HTTP only.
SECRETS = (
    "DATABASE_URL",
    "REDIS_URL",
    "GRIDFARE_SECRET_KEY",
    "GRIDFARE_SECRET_KEY_FILE",
    "DJANGO_SETTINGS_MODULE",
)


@dataclass(frozen=True)
class Agent:
    """One agent of the demo market; its join token is "" when its pool has an agent already."""

    name: str
    token: str


def seeded_agents(output: str) -> list[Agent]:
    """What the seeding command printed."""
    found = json.loads(output.strip().splitlines()[-1])
    return [Agent(agent["name"], agent["token"] or "") for agent in found["agents"]]


@dataclass(frozen=True)
class Layout:
    """Where things are below the data folder."""

    data: Path

    @property
    def logs(self) -> Path:
        """A log per process."""
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """A pid file per process, and the lock."""
        return self.data / "run"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Holds the number of one process while it is supervised."""
        return self.run / f"{name}.pid"

    def agent_home(self, name: str) -> Path:
        """What one agent keeps: its key, its environments, its work."""
        return self.data / "agents" / name

    def make(self) -> None:
        """Makes the folders. Only their owner may look into them."""
        for folder in (self.logs, self.run, self.data / "agents"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)


def base_url(port: int) -> str:
    """Where the platform answers."""
    return f"http://{HOST}:{port}"


def platform_environment(layout: Layout, port: int, database_url: str, redis_url: str) -> dict[str, str]:
    """What web, worker, beat and the management commands are told."""
    environment = {
        "GRIDFARE_PAYOUT_HOLD_DAYS": "0",  # so that the demo's last month is paid out at once
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "GRIDFARE_DATA": str(layout.data),
        "GRIDFARE_BASE_URL": os.environ.get("GRIDFARE_BASE_URL") or base_url(port),
        "PYTHONUNBUFFERED": "1",
        # Two arenas instead of eight per core: threads keep less memory that nobody uses.
        "MALLOC_ARENA_MAX": "2",
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY", ""), HOST, "localhost"])),
    }
    if not (os.environ.get("GRIDFARE_SECRET_KEY") or os.environ.get("GRIDFARE_SECRET_KEY_FILE")):
        environment["GRIDFARE_SECRET_KEY_FILE"] = str(_secret_key_file(layout))
    return environment


def agent_environment(platform: dict[str, str], port: int) -> dict[str, str]:
    """What an agent is told: where the platform is, and nothing that opens its doors from behind."""
    public = {key: value for key, value in platform.items() if key not in SECRETS}
    return {**public, "GRIDFARE_URL": base_url(port)}


def web_command(port: int) -> list[str]:
    """The web server. Agents' long polls would hold up its end, hence the short grace."""
    options = ["--host", HOST, "--port", str(port), "--no-access-log", "--lifespan", "off"]
    return [
        sys.executable,
        "-m",
        "uvicorn",
        "config.asgi:application",
        *options,
        "--timeout-graceful-shutdown",
        "3",
    ]


def worker_command() -> list[str]:
    """The Celery worker: two processes, which give back what a large job made them take."""
    options = ["--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    return [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "config",
        "worker",
        *options,
        "--max-memory-per-child",
        "300000",
    ]


def beat_command(layout: Layout) -> list[str]:
    """Celery's clock. No pid file of its own: one left by SIGKILL would keep it from starting."""
    schedule = str(layout.run / "beat-schedule")
    return [sys.executable, "-m", "celery", "-A", "config", "beat", "--pidfile=", "--schedule", schedule]


def join_command(layout: Layout, port: int, name: str, token: str) -> list[str]:
    """Enrols one agent with its join token. It may use its share of the machine, not the whole."""
    home = str(layout.agent_home(name))
    cores = max(1, (os.cpu_count() or 1) // AGENTS)
    memory = max(LEAST_MEMORY_MIB, psutil.virtual_memory().total // 2**20 // 2 // AGENTS)
    share = ["--cores", str(cores), "--memory-mib", str(memory)]
    return [*_agent("join"), base_url(port), token, "--home", home, "--name", name, *share]


def agent_command(layout: Layout, name: str) -> list[str]:
    """Runs one enrolled agent. What it still computes when we end is given back after a few seconds."""
    return [*_agent("run"), "--home", str(layout.agent_home(name)), "--stop-after", "3s"]


def point_at(home: Path, url: str) -> None:
    """Tells an agent that joined before where the market is today: its port may have changed."""
    path = home / "agent.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known["url"] != url:
            path.write_text(json.dumps({**known, "url": url}, indent=2))


def working_folder() -> Path:
    """Where all of them are started."""
    return ROOT


def _agent(verb: str) -> list[str]:
    return [sys.executable, "-m", "gridfare", "agent", verb]


def _secret_key_file(layout: Layout) -> Path:
    """A key of this installation's own, made once."""
    path = layout.data / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(64))
    return path

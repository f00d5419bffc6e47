"""`make up` from the outside, with small programs in the place of the market's: the supervisor is tried."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from core.embedded.process import gone, wait_until

ROOT = Path(__file__).resolve().parents[2]

MANAGE = """
import json, os, sys
from pathlib import Path
verb = sys.argv[1]
seeded = Path(os.environ["GRIDFARE_DATA"], "seeded")
if verb == "seed_demo":
    token = None if seeded.exists() and "--token-for" not in sys.argv else "a-token"
    seeded.touch()
    print(json.dumps({"agents": [{"name": "east", "token": token}, {"name": "west", "token": token}]}))
"""
DEMO = """
import os, sys
print("the demo ran")
sys.exit(int(os.environ["DEMO_CODE"]))
"""
ASGI = """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ready"})
"""
CELERY = """
import os
from celery import Celery
app = Celery("small", broker=os.environ["REDIS_URL"])
"""
AGENT = """
import json, os, sys, time
from pathlib import Path
home = Path(sys.argv[sys.argv.index("--home") + 1])
if sys.argv[2] == "join":
    with (home / "joins").open("a") as joins:
        joins.write(" ".join(sys.argv[3:5]) + chr(10))
else:
    (home / "environment").write_text(json.dumps(dict(os.environ)))
    time.sleep(600)
"""


@dataclass
class Market:
    """A check-out that holds the real supervisor and small programs for it to run."""

    folder: Path
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / ".gridfare"

    def start(self, *arguments: str, demo_code: int = 0, **environment: str) -> "subprocess.Popen[str]":
        """Runs `python -m core.stack up`; its output is read from the pipe."""
        dropped = {"DATABASE_URL", "REDIS_URL", "GRIDFARE_DATA", "DJANGO_SETTINGS_MODULE", "PORT"}
        kept = {key: value for key, value in os.environ.items() if key not in dropped}
        up = subprocess.Popen(
            [sys.executable, "-m", "core.stack", "up", *arguments],
            cwd=self.folder,
            env={**kept, "DEMO_CODE": str(demo_code), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(up)
        return up

    def pid(self, name: str) -> int:
        return int((self.data / "run" / f"{name}.pid").read_text())

    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in (self.data / "run").glob("*.pid")]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    for path, text in {
        "manage.py": MANAGE,
        "demo.py": DEMO,
        "config/__init__.py": "",
        "config/settings.py": "SECRET_KEY = 'small'\nUSE_TZ = True\n",
        "config/asgi.py": ASGI,
        "config/celery.py": CELERY,
        "gridfare/__init__.py": "",
        "gridfare/__main__.py": AGENT,
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    shutil.copytree(ROOT / "core", tmp_path / "core", ignore=shutil.ignore_patterns("__pycache__"))
    made = Market(tmp_path)
    yield made
    for up in made.started:
        up.kill()  # its children end with it
        up.communicate()


def test_once_ends_with_the_exit_code_of_the_demo_and_leaves_no_process(market: Market) -> None:
    up = market.start("--once", demo_code=3)
    output, _ = up.communicate(timeout=90)
    assert up.returncode == 3
    assert "the demo ran" in output
    assert "Everything is stopped" in output
    assert market.pids() == []
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(market.folder) in words(process)]


def test_what_is_killed_comes_back_and_a_second_run_is_refused(market: Market) -> None:
    up = market.start()
    try:
        read_until(up, "Serving at")
        second = market.start()
        refusal, _ = second.communicate(timeout=30)
        assert second.returncode == 1
        assert f"Gridfare already runs with these data: process {up.pid}" in refusal

        before = {name: market.pid(name) for name in ("postgres", "redis", "web", "worker", "agent-east")}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: all(came_back(market, name, pid) for name, pid in before.items()), 30)
        assert wait_until(lambda: answers(market), 30)
    finally:
        children = market.pids()
        up.terminate()
        output, _ = up.communicate(timeout=60)
    assert "Everything is stopped" in output
    assert all(ended(pid) for pid in children)


def test_a_run_after_sigkill_mends_what_was_left(market: Market) -> None:
    up = market.start()
    read_until(up, "Serving at")
    up.kill()
    up.wait()

    again = market.start("--once")
    output, _ = again.communicate(timeout=90)
    assert again.returncode == 0, output
    joins = (market.data / "agents" / "east" / "joins").read_text().splitlines()
    assert len(joins) == 1, "an agent that has joined does not join again"


def test_an_agent_knows_where_the_market_is_and_none_of_its_secrets(market: Market) -> None:
    up = market.start()
    try:
        read_until(up, "Serving at")
        note = market.data / "agents" / "west" / "environment"
        assert wait_until(note.exists, 10)
        assert wait_until(lambda: note.read_text() != "", 10)
        told = json.loads(note.read_text())
    finally:
        up.terminate()
        up.communicate(timeout=60)
    assert told["GRIDFARE_URL"].startswith("http://127.0.0.1:")
    assert not {"DATABASE_URL", "REDIS_URL", "GRIDFARE_SECRET_KEY_FILE"} & set(told)


def test_a_port_in_use_is_a_clear_error_when_it_was_asked_for(market: Market) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = str(stranger.getsockname()[1])
        up = market.start(PORT=taken)
        output, _ = up.communicate(timeout=30)
    assert up.returncode == 1
    assert f"Port {taken} is in use by another program" in output


@pytest.mark.parametrize(
    ("variable", "url"),
    [("DATABASE_URL", "postgresql://us:secret@127.0.0.1:9/market"), ("REDIS_URL", "redis://:secret@127.0.0.1:9/0")],
)
def test_a_real_server_that_does_not_answer_is_a_clear_error_at_once(market: Market, variable: str, url: str) -> None:
    up = market.start("--once", **{variable: url})
    output, _ = up.communicate(timeout=60)
    assert up.returncode == 1
    assert f"{variable} names a server that cannot be used ({url.replace('us:secret@', '').replace(':secret@', '')})" in output
    assert "secret" not in output
    assert "Traceback" not in output


def read_until(up: "subprocess.Popen[str]", words: str) -> None:
    """Reads the output up to a line with these words."""
    assert up.stdout is not None
    seen: list[str] = []
    for line in up.stdout:
        seen.append(line)
        if words in line:
            return
    raise AssertionError("".join(seen))


def came_back(market: Market, name: str, before: int) -> bool:
    try:
        return market.pid(name) != before and not ended(market.pid(name))
    except (OSError, ValueError):
        return False


def answers(market: Market) -> bool:
    url = json.loads((market.data / "run" / "up.lock").read_text())["url"]
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def words(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or gone(psutil.Process(pid))

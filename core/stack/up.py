"""The order in which `make up` brings the market to life."""

import http.client
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.embedded import folder_lock, servers
from core.embedded.postgres import Postgres
from core.embedded.process import tail
from core.embedded.redis import Redis
from core.stack import plan
from core.stack.child import Child, end_leftover
from core.stack.given import check_given
from core.stack.lock import StackLock
from core.stack.plan import Agent, Layout
from core.stack.ports import HOST, choose_port
from core.stack.show import Show
from core.stack.supervisor import Step, StepFailed, Stopped, Supervisor


@dataclass(frozen=True)
class Options:
    """What `make up` was asked for. An empty port means the first free one from 8000."""

    data: Path
    port: str = ""
    once: bool = False
    demo: bool = True


def up(options: Options, show: Show) -> int:
    """Runs the market until it is stopped, or with once until the demo's end. Returns the exit code."""
    layout = Layout(options.data)
    layout.make()
    lock = StackLock(layout.run / "up.lock")
    lock.take()
    supervisor = Supervisor(show, layout.logs)
    supervisor.listen()
    try:
        return _live(options, layout, lock, supervisor)
    except Stopped:
        return 130 if options.once else 0
    finally:
        _stop(supervisor, layout)


def _live(options: Options, layout: Layout, lock: StackLock, supervisor: Supervisor) -> int:
    _end_leftovers(layout, supervisor.show)
    port = choose_port(options.port)
    database_url, redis_url = _start_servers(layout, supervisor)
    stack = _Stack(layout, port, supervisor, plan.platform_environment(layout, port, database_url, redis_url))
    stack.migrate()
    agents = stack.start_platform()
    lock.tell(plan.base_url(port))
    for agent in agents:
        stack.start_agent(agent)
    code = stack.run_demo() if options.demo else 0
    if options.once:
        return code
    supervisor.show.line(f"Serving at {plan.base_url(port)} - Ctrl-C stops it", style="bold green")
    supervisor.serve()
    return code


def _stop(supervisor: Supervisor, layout: Layout) -> None:
    if supervisor.children:
        with supervisor.show.step("Stopping", f"Everything is stopped; the data stay in {layout.data}"):
            supervisor.stop()


def _end_leftovers(layout: Layout, show: Show) -> None:
    """After SIGKILL to a supervisor its children end by themselves, but some take their time."""
    for path in sorted(layout.run.glob("*.pid")):
        if path.stem not in ("postgres", "redis") and end_leftover(path):
            show.warning(f"ended {path.stem}, left over from a run that was killed")


def _start_servers(layout: Layout, supervisor: Supervisor) -> tuple[str, str]:
    """Starts the embedded servers that the environment does not replace; returns where both are."""
    urls = {"postgres": os.environ.get("DATABASE_URL", ""), "redis": os.environ.get("REDIS_URL", "")}
    for server in servers(layout.data):
        if urls[server.name]:
            supervisor.show.line(check_given(server.variable, urls[server.name]))
            continue
        with supervisor.show.step(f"Starting {server.title}", f"{server.title} runs"):
            urls[server.name] = _start_server(server, layout, supervisor)
    return urls["postgres"], urls["redis"]


def _start_server(server: Postgres | Redis, layout: Layout, supervisor: Supervisor) -> str:
    def command() -> Sequence[str]:
        with folder_lock(layout.data):
            server.prepare()
        return server.command()

    log = layout.log(server.name)
    supervisor.add(
        Child(
            name=server.name,
            command=command,
            log=log,
            pid_file=layout.pid_file(server.name),
            environment=os.environ,
            folder=plan.working_folder(),
            stop_signal=server.stop_signal,
            grace=30.0,
            running=server.pid,
        )
    )
    supervisor.wait_until(server.ready, 90, f"{server.name} does not answer", log)
    if isinstance(server, Postgres):
        server.create_database()
    return server.url


@dataclass(frozen=True)
class _Stack:
    """The steps after the servers run."""

    layout: Layout
    port: int
    supervisor: Supervisor
    environment: dict[str, str]

    def migrate(self) -> None:
        """Brings the database's tables up to date."""
        with self.supervisor.show.step("Migrating the database", "The database is up to date"):
            self._step("migrate", plan.MIGRATE)

    def start_platform(self) -> list[Agent]:
        """Starts web, worker and beat, and makes the demo market while they come up. Returns its agents."""
        done = "Web, worker and beat are ready, the demo market is there"
        with self.supervisor.show.step("Starting web, worker and beat, making the demo market", done):
            self._add("web", lambda: plan.web_command(self.port), self.environment, wave=1)
            self._add("worker", plan.worker_command, self.environment, wave=2)
            self._add("beat", lambda: plan.beat_command(self.layout), self.environment, wave=2)
            agents = self._seed()
            log = self.layout.log("web")
            self.supervisor.wait_until(lambda: _ready(self.port), 90, "The web server is not ready", log)
        return agents

    def start_agent(self, agent: Agent) -> None:
        """Starts one provider's agent, enrolled the first time."""
        name, token = agent.name, agent.token
        environment = plan.agent_environment(self.environment, self.port)
        with self.supervisor.show.step(f"Starting the agent {name}", f"The agent {name} runs"):
            if not token and not _joined(self.layout.agent_home(name)):
                token = self._seed(name)[0].token
            if token:
                self._join(name, token, environment)
            plan.point_at(self.layout.agent_home(name), plan.base_url(self.port))
            self._add(f"agent-{name}", lambda: plan.agent_command(self.layout, name), environment, wave=3)

    def run_demo(self) -> int:
        """Runs the main job in the foreground."""
        code = self.supervisor.run(Step(plan.DEMO, self.environment, plan.working_folder()))
        if code:
            self.supervisor.show.error(f"The demo ended with exit code {code}; logs are in {self.layout.logs}")
        return code

    def _join(self, name: str, token: str, environment: dict[str, str]) -> None:
        home = self.layout.agent_home(name)
        home.mkdir(parents=True, exist_ok=True)
        command = plan.join_command(self.layout, self.port, name, token)
        self._step(f"agent-{name}", command, environment)
        (home / JOINED).touch()

    def _seed(self, name: str = "") -> list[Agent]:
        """Runs the seeding command; with a name, it makes a new join token for that agent's pool."""
        output = self.layout.run / "seed.json"
        output.unlink(missing_ok=True)
        output.touch(mode=0o600)
        self._step("seed", [*plan.SEED, *(["--token-for", name] if name else [])], output=output)
        agents = plan.seeded_agents(output.read_text())
        output.unlink()
        return [agent for agent in agents if not name or agent.name == name]

    def _step(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        log = self.layout.log(name)
        step = Step(command, environment or self.environment, plan.working_folder(), log, output)
        if code := self.supervisor.run(step):
            raise StepFailed(f"{name} ended with exit code {code}. Its log, {log}, ends:\n{tail(log, 30)}")

    def _add(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        environment: dict[str, str],
        *,
        wave: int,
    ) -> None:
        self.supervisor.add(
            Child(
                name=name,
                command=command,
                log=self.layout.log(name),
                pid_file=self.layout.pid_file(name),
                environment=environment,
                folder=plan.working_folder(),
                wave=wave,
            )
        )


# Written beside an agent's key after it enrolled, so that a home that was deleted is noticed.
JOINED = "joined-by-make-up"


def _joined(home: Path) -> bool:
    return (home / JOINED).exists()


def _ready(port: int) -> bool:
    """Whether /readyz says so."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

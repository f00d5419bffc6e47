"""The course of one attempt: prepare, run, judge, collect, upload, clean up, report."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridfare.agent import log, outputs, procfs, workspace
from gridfare.agent.attempt import Attempt
from gridfare.agent.cache import Cache, Programs
from gridfare.agent.chaos import Chaos
from gridfare.agent.checkpoints import Desk, Saver, state_of
from gridfare.agent.child import Child
from gridfare.agent.environments import Environments
from gridfare.agent.executors import Choice
from gridfare.agent.executors.base import Executor, Exit, Job
from gridfare.agent.family import Family
from gridfare.agent.files import largest_file, open_file_beneath, remove_tree
from gridfare.agent.guardian import MARK
from gridfare.agent.logs import AttemptLog, LogShipper
from gridfare.agent.model import MIB
from gridfare.agent.outbox import Report
from gridfare.agent.outputs import Output
from gridfare.agent.reasons import STALE, AttemptEnded, Usage, failure, one_line
from gridfare.agent.sensing import Energy
from gridfare.agent.transfer import Transfer
from gridfare.agent.watchdog import Watchdog

REVEAL_S = 3600.0
"""Longest wait for the platform to ask for a result that was committed to; it asks after ten minutes at most."""
LAST_COUNTS = ("reclaimed", "agent_stopping")
"""Causes after which the state that a program left is stored: somebody else will go on from it."""


@dataclass(slots=True)
class Workshop:
    """The tools that all attempts share."""

    folders: workspace.Folders
    choice: Choice
    cache: Cache
    programs: Programs
    environments: Environments
    transfer: Transfer
    shipper: LogShipper
    watchdog: Watchdog
    family: Family
    threads: ThreadPoolExecutor
    chaos: Chaos
    mark: str
    desk: Desk
    energy: Energy

    async def carry_out(self, attempt: Attempt) -> Report | None:
        """Take an attempt to its end; returns the report, or None when the platform wants none."""
        lease, usage = attempt.lease, Usage()
        printed = AttemptLog(lease.attempt, lease.fence, lease.spec.limits.log_kib * 1024)
        try:
            results = await self._course(attempt, usage, printed)
            report: Report = {"attempt": lease.attempt, "fence": lease.fence, "outcome": "done"}
            if attempt.salt:
                report["salt"] = attempt.salt
            if results:
                report["outputs"] = [result.to_json() for result in results]
        except AttemptEnded as problem:
            if problem.code == STALE:
                self.shipper.forget(lease.attempt)
                return None
            report = failure(lease.attempt, lease.fence, problem)
            log.info("unit did not succeed", attempt=lease.attempt, code=problem.code, detail=one_line(problem.detail))
        return await self._complete(report, usage, printed)

    def kill_everything(self) -> None:
        """Every program and every build of ours, with all they started, now."""
        self.environments.break_off()
        procfs.kill_marked(MARK, self.mark)

    async def _complete(self, report: Report, usage: Usage, printed: AttemptLog) -> Report:
        """Deliver what was printed and add the counters."""
        if printed.streams:
            await self.shipper.finish(printed)
            if sizes := printed.sizes():
                report["logs"] = sizes
        if counters := self.chaos.inflate(usage.to_json()):
            report["usage"] = counters
        return report

    async def _course(self, attempt: Attempt, usage: Usage, printed: AttemptLog) -> list[Output]:
        """From lease to stored results; raises AttemptEnded."""
        try:
            executor = self.choice.pick(attempt.lease.spec)
            if self.chaos.strikes(self.chaos.fail_units):
                raise AttemptEnded("exit_nonzero", "chaos", exit_code=1)
            job = await self._prepare(attempt, executor, usage, printed)
            ended = await self._run(attempt, executor, job, usage, printed)
            attempt.phase = "uploading"
            judge(ended, attempt, printed)
            return await self._deliver(attempt, usage)
        except AttemptEnded as problem:
            raise attempt.ending() if attempt.cause and problem.code == "cancelled" else problem from None
        except OSError as problem:
            log.warning("the machine failed a unit", attempt=attempt.lease.attempt, why=problem)
            raise AttemptEnded("download_failed", f"this machine: {problem}", "node_fault") from problem
        finally:
            await self._clean(attempt)

    async def _prepare(self, attempt: Attempt, executor: Executor, usage: Usage, printed: AttemptLog) -> Job:
        """Make the folder, and fetch what the program needs."""
        attempt.check()
        attempt.phase = "preparing"
        began = time.monotonic()
        spec, lease = attempt.lease.spec, attempt.lease
        attempt.folder = self.folders.create(lease)
        program = environment = None
        if spec.program or spec.files or lease.files or lease.resume:
            program = await self._in_thread(self._fetch, attempt, usage)
        if spec.environment:
            attempt.waiting_for = asyncio.ensure_future(self.environments.get(spec.environment, printed.note))
            environment = await self._interruptible(attempt)
        attempt.check()
        usage.prepare_ms = round((time.monotonic() - began) * 1000)
        return Job(lease, attempt.folder, program, environment, attempt.devices, attempt.slot, self.mark)

    async def _interruptible(self, attempt: Attempt) -> Path:
        """Wait for the environment, unless the attempt is stopped meanwhile."""
        assert attempt.waiting_for is not None
        try:
            path: Path = await attempt.waiting_for
        except asyncio.CancelledError:
            attempt.check()
            raise
        finally:
            attempt.waiting_for = None
        return path

    async def _in_thread(self, function: Any, *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *values)

    def _fetch(self, attempt: Attempt, usage: Usage) -> Path | None:
        """Program and input files, in a thread."""

        def moved(count: int) -> None:
            usage.bytes_in += count

        spec, scope = attempt.lease.spec, attempt.scope
        for file in (*spec.files, *attempt.lease.files, *attempt.lease.resume):

            def fetch(target: Path, file: Any = file) -> int:
                return self.transfer.download(scope, file, target, attempt.stopped)

            with self.cache.use(file, fetch, moved) as content:
                workspace.place(attempt.folder, file, content)
        return self._fetch_program(attempt, moved)

    def _fetch_program(self, attempt: Attempt, moved: Any) -> Path | None:
        blob = attempt.lease.spec.program
        if blob is None:
            return None

        def fetch(target: Path) -> int:
            count = self.transfer.download(attempt.scope, blob, target, attempt.stopped)
            moved(count)
            return count

        return self.programs.get(blob, fetch)

    async def _run(self, attempt: Attempt, executor: Executor, job: Job, usage: Usage, printed: AttemptLog) -> Exit:
        """Run the program to its end and count what it took."""
        if job.lease.resume and job.spec.checkpoint:
            attempt.resumed = state_of(attempt.folder, job.spec.checkpoint)
        executor.prepare(job)
        child = Child(attempt.lease.key, executor.launch(job), job.spec.limits, printed.feed, self.family)
        try:
            child.start()
        except OSError as problem:
            raise AttemptEnded("exit_nonzero", f"cannot start {job.spec.run[0]}: {problem}", exit_code=127) from None
        attempt.child, attempt.phase = child, "running"
        self.watchdog.watch(child, job.work)
        self.shipper.watch(printed)
        begun = self.energy.begin()
        ended = await self._until_end(attempt, child, usage)
        self.watchdog.forget(child)
        count(usage, ended, attempt)
        usage.joules = self.energy.share(begun, ended.core_ms)
        return ended

    async def _until_end(self, attempt: Attempt, child: Child, usage: Usage) -> Exit:
        """Wait for the program, looking after its checkpoints; the last one counts when its machine is taken away."""
        rule = attempt.lease.spec.checkpoint
        if rule is None:
            return await child.wait()
        saver = Saver(attempt.lease, attempt.folder, child, self.desk, lambda: so_far(usage, child, attempt))
        if attempt.lease.resume:
            saver.saved = attempt.resumed
        attempt.saver = saver
        task = asyncio.create_task(saver.run())
        ended = await child.wait()
        attempt.saver = None
        await saver.finish(task, last=ended.cause in LAST_COUNTS)
        return ended

    async def _commit(self, attempt: Attempt, results: list[Output]) -> None:
        """Bind this machine to its result, and wait until the platform asks for it: everybody else is bound then, too."""
        lease = attempt.lease
        attempt.salt = secrets.token_hex(32)
        commitment = hashlib.sha256((outputs.result_hash(results) + attempt.salt).encode()).hexdigest()
        attempt.check()
        attempt.phase = "committed"
        item = {"attempt": lease.attempt, "fence": lease.fence, "outcome": "committed", "commitment": commitment}
        assert attempt.bind is not None
        attempt.bind(attempt, item)
        try:
            await asyncio.wait_for(attempt.asked.wait(), REVEAL_S)
        except TimeoutError:
            raise AttemptEnded("not_asked", "the platform never asked for the result") from None
        attempt.check()
        attempt.phase = "uploading"

    async def _deliver(self, attempt: Attempt, usage: Usage) -> list[Output]:
        """Hash and upload the results."""
        spec = attempt.lease.spec
        if not (spec.outputs or spec.commit):
            return []
        results = await self._in_thread(self._collect, attempt, self.chaos.corrupt_results)
        if spec.commit:
            await self._commit(attempt, results)
            if self.chaos.break_commitments:
                results = await self._in_thread(self._collect, attempt, self.chaos.break_commitments)
        return list(await self._in_thread(self._upload, attempt, usage, results))

    def _collect(self, attempt: Attempt, corrupt: float = 0.0) -> list[Output]:
        """The results, hashed; ``corrupt``: how often they are spoilt before."""
        spec = attempt.lease.spec
        results = outputs.collect(attempt.folder, spec.outputs, spec.limits.output_mib)
        if self.chaos.strikes(corrupt):
            self.chaos.corrupt(attempt.folder, [result.path for result in results])
            results = outputs.collect(attempt.folder, spec.outputs, spec.limits.output_mib)
        return results

    def _upload(self, attempt: Attempt, usage: Usage, results: list[Output]) -> list[Output]:
        root = os.open(attempt.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for result in results:

                def opened(path: str = result.path) -> int:
                    return open_file_beneath(root, path)

                size = result.bytes
                usage.bytes_out += self.transfer.upload(attempt.scope, result.sha256, size, opened, attempt.stopped)
        finally:
            os.close(root)
        return results

    async def _clean(self, attempt: Attempt) -> None:
        """Keep an untouched folder for the next attempt; delete any other in a thread."""
        if attempt.folder and not self.folders.take_back(attempt.folder):
            await self._in_thread(remove_tree, attempt.folder)


def so_far(usage: Usage, child: Child, attempt: Attempt) -> dict[str, Any]:
    """What a running program has taken up to now, as a checkpoint claims it."""
    now = Usage(prepare_ms=usage.prepare_ms, bytes_in=usage.bytes_in)
    now.wall_ms = child.exit.wall_ms or round((time.monotonic() - child.started_at) * 1000)
    now.core_ms = child.exit.core_ms or child.seen_core_ms
    now.memory_mib_ms = child.exit.memory_kib_ms // 1024
    for device in attempt.devices:
        now.accelerator_ms[device.model] = now.accelerator_ms.get(device.model, 0) + now.wall_ms
    return now.to_json()


def count(usage: Usage, ended: Exit, attempt: Attempt) -> None:
    """Take over the counters of the program that ended."""
    usage.wall_ms, usage.core_ms = ended.wall_ms, ended.core_ms
    usage.peak_memory_mib = -(-ended.peak_kib // 1024)
    usage.memory_mib_ms = ended.memory_kib_ms // 1024
    for device in attempt.devices:
        usage.accelerator_ms[device.model] = usage.accelerator_ms.get(device.model, 0) + ended.wall_ms


def judge(ended: Exit, attempt: Attempt, printed: AttemptLog) -> None:
    """Raise AttemptEnded unless the program ended well."""
    limits = attempt.lease.spec.limits
    if ended.cause is not None:
        raise AttemptEnded(ended.cause, ended.detail, exit_code=ended.code or 0)
    if not ended.started:
        raise AttemptEnded("executor_missing", f"the sandbox failed: {printed.last_line()}", "node_fault")
    if ended.signal == signal.SIGXFSZ:
        raise AttemptEnded("file_limit", f"a file larger than {limits.file_mib} MiB")
    if ended.signal is not None:
        raise AttemptEnded("killed_by_signal", f"signal {ended.signal}: {printed.last_line()}")
    if ended.code != 0:
        if largest_file(attempt.folder) >= limits.file_mib * MIB:
            raise AttemptEnded("file_limit", f"a file of {limits.file_mib} MiB", exit_code=ended.code or 0)
        raise AttemptEnded("exit_nonzero", printed.last_line(), exit_code=ended.code or 0)

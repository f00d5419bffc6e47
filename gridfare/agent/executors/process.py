"""The `process` executor: a session of its own and limits, for programs that the platform vouches for.

It needs no privilege and no package. It separates by rights of the operating system's user only: the program can read
what the agent's user can read.
"""

from __future__ import annotations

from gridfare.agent.executors.base import Job, Launch, View, environment_of, interpreter_of, words_of


class ProcessExecutor:
    """Runs programs as children of the agent."""

    name = "process"

    def prepare(self, job: Job) -> None:
        """Nothing to change."""

    def launch(self, job: Job) -> Launch:
        """The program's own command in its real folder."""
        program = str(job.program) if job.program else None
        view = View(job.work, program, interpreter_of(job.environment))
        return Launch(words_of(job, view), environment_of(job, view), job.work, limit_from_outside=True)

"""A small process that outlives the agent by a moment: when the agent dies, it kills what the agent ran.

The agent holds the writing end of a pipe. The guardian reads from it, and reads the end of the file when the agent is
gone, however it went. It runs procfs.py alone, so it is small. Programs carry the agent's mark in their environment,
so nothing has to be told per unit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass

from gridfare.agent import procfs

MARK = "GRIDFARE_AGENT"


@dataclass(slots=True)
class Guardian:
    """The running guardian as the agent sees it."""

    mark: str
    process: subprocess.Popen[bytes]
    pipe: int

    @classmethod
    def start(cls) -> Guardian:
        """Start it in a session of its own, so that Ctrl-C in a terminal does not reach it."""
        mark = uuid.uuid4().hex
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", procfs.__file__, MARK, mark],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reading)
        return cls(mark, process, writing)

    def dismiss(self) -> None:
        """Let it look around once more and end."""
        os.close(self.pipe)
        self.process.wait()

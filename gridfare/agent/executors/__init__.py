"""Ways to run a program on this machine, and the choice among them."""

from __future__ import annotations

from gridfare.agent.executors.base import Executor
from gridfare.agent.model import Spec
from gridfare.agent.reasons import Released


class Choice:
    """Picks the executor of a unit: isolation unless the platform vouches for the program.

    ``forced`` names the only one to use; it runs untrusted specs without isolation only with ``allow_untrusted``.
    """

    def __init__(self, executors: dict[str, Executor], forced: str | None = None, allow_untrusted: bool = False) -> None:
        self.executors, self.forced, self.allow_untrusted = executors, forced, allow_untrusted

    def names(self) -> list[str]:
        """What the platform may count on: a forced executor stands in for the others."""
        if self.forced == "null" or (self.forced == "process" and self.allow_untrusted):
            return sorted({self.forced, "process", "sandbox"})
        return [self.forced] if self.forced else sorted(self.executors)

    def pick(self, spec: Spec) -> Executor:
        """The executor for a spec; raises Released when none may run it here."""
        if self.forced:
            return self._forced(self.forced, spec)
        name = "sandbox" if "sandbox" in self.executors else "process"
        if name == "process" and not spec.trusted:
            raise Released("executor_missing", "this machine has no sandbox, and the program is not vouched for")
        if name not in self.executors:
            raise Released("executor_missing", f"this machine has no {name} executor")
        return self.executors[name]

    def _forced(self, name: str, spec: Spec) -> Executor:
        if name not in self.executors:
            raise Released("executor_missing", f"this machine has no {name} executor")
        if name == "process" and not spec.trusted and not self.allow_untrusted:
            raise Released("executor_missing", "the operator allows this program only in a sandbox")
        return self.executors[name]

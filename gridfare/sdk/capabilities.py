"""Capabilities: finding them, publishing one from a folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gridfare.sdk.answers import Capability, CapabilityVersion
from gridfare.sdk.artifacts import ArtifactCalls, Progress, no_progress
from gridfare.sdk.errors import Conflict, TestsFailed, WaitTimeout
from gridfare.sdk.packing import manifest_of, pack


class CapabilityCalls(ArtifactCalls):
    """What can be run, and publishing it."""

    def capabilities(self, *, limit: int | None = None) -> Iterator[Capability]:
        """Published capabilities, and the own drafts."""
        return self.http.pages("/capabilities", most=limit)

    def capability(self, name: str) -> dict[str, Any]:
        """One capability ("org/name") or one version of it ("org/name@version"), with the manifest."""
        plain, _, version = name.partition("@")
        answer: dict[str, Any] = self.http.get(f"/capabilities/{plain}" + (f"/versions/{version}" if version else ""))
        return answer

    def publish_capability(
        self,
        folder: Path | str,
        *,
        timeout: float | None = 900,
        progress: Progress = no_progress,
        on_change: Callable[[CapabilityVersion], None] | None = None,
    ) -> CapabilityVersion:
        """Pack a folder, upload it, make a draft of it, publish, and wait until its tests have passed.

        Raises Refused with `field` for a bad manifest, TestsFailed, WaitTimeout. Doing it again goes on where it was.
        """
        version = self.draft_capability(folder, progress=progress)
        name = f"{version['name']}@{version['version']}"
        if version["state"] == "draft":
            with suppress_code("tests_running"):  # a repeat whose first answer was lost
                self.move_capability(name, "publish")
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            version = self._version(name)
            if on_change is not None:
                on_change(version)
            if version["state"] == "draft":
                raise TestsFailed(f"the tests of {name} did not pass", list(version.get("test_report") or []))
            if version["state"] != "testing":
                return version
            if until is not None and time.monotonic() > until:
                raise WaitTimeout(f"{name} is still being tested", version)
            time.sleep(0.5)

    def draft_capability(self, folder: Path | str, *, progress: Progress = no_progress) -> CapabilityVersion:
        """Pack and upload a folder and make a draft version of it, without publishing."""
        folder = Path(folder)
        manifest = manifest_of(folder)
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / f"{folder.resolve().name}.tar.gz"
            packed.write_bytes(pack(folder))
            program = self.upload(packed, progress=progress)
        answer: CapabilityVersion = self.http.post(
            "/capabilities", {"manifest": manifest, "program": program}, repeatable=True
        )
        return answer

    def _version(self, name: str) -> CapabilityVersion:
        plain, _, version = name.partition("@")
        answer: CapabilityVersion = self.http.get(f"/capabilities/{plain}/versions/{version}")
        return answer

    def move_capability(self, name: str, verb: str) -> dict[str, Any]:
        """`verb` one of publish, deprecate, withdraw, trust; `name` is "org/name@version"."""
        plain, _, version = name.partition("@")
        answer: dict[str, Any] = self.http.post(f"/capabilities/{plain}/versions/{version}/{verb}", repeatable=True)
        return answer


@contextmanager
def suppress_code(code: str) -> Iterator[None]:
    """Let a conflict pass that says what is wanted has happened."""
    try:
        yield
    except Conflict as conflict:
        if conflict.code != code:
            raise

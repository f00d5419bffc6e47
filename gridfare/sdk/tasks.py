"""Tasks: what they would cost, handing them in, watching them, and why they run where they run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gridfare.sdk.answers import ENDED, LogChunk, Quote, Task, Unit
from gridfare.sdk.artifacts import ArtifactCalls, Progress, no_progress
from gridfare.sdk.downloads import DownloadCalls
from gridfare.sdk.errors import PlatformFault, Unreachable, WaitTimeout
from gridfare.sdk.events import EventCalls
from gridfare.sdk.http import BUSY

POLL_FIRST_S = 0.2
POLL_MOST_S = 2.0


class TaskCalls(ArtifactCalls, EventCalls, DownloadCalls):
    """Everything about tasks."""

    def quote(
        self,
        capability: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        objective: str | None = None,
        regions: Sequence[str] = (),
        providers: Sequence[str] = (),
        exclude_providers: Sequence[str] = (),
        max_price: Decimal | str | int | None = None,
        more: Mapping[str, Any] | None = None,
        deadline: datetime | timedelta | str | None = None,
        progress: Progress = no_progress,
    ) -> Quote:
        """Price and time of a task without handing it in. Files are uploaded, so that `submit` has them already."""
        constraints = _constraints(regions, providers, exclude_providers, max_price, more)
        body = self._request(capability, inputs, objective, constraints, deadline, progress)
        answer: Quote = self.http.post("/quotes", body, repeatable=True)
        return answer

    def submit(
        self,
        capability: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        verify: Any = None,
        name: str | None = None,
        objective: str | None = None,
        regions: Sequence[str] = (),
        providers: Sequence[str] = (),
        exclude_providers: Sequence[str] = (),
        max_price: Decimal | str | int | None = None,
        more: Mapping[str, Any] | None = None,
        deadline: datetime | timedelta | str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        progress: Progress = no_progress,
    ) -> Task:
        """Hand in a task for `capability` ("org/name", or "org/name@version").

        Every `pathlib.Path` among the inputs is uploaded first; a folder becomes the list of its files. The request
        carries an idempotency key, so however often it is sent there is one task. Raises Refused with `field` for bad
        input, NotFound for an unknown capability.
        """
        constraints = _constraints(regions, providers, exclude_providers, max_price, more)
        body = self._request(capability, inputs, objective, constraints, deadline, progress)
        body |= {key: value for key, value in {"labels": dict(labels or {}), "name": name, "verify": verify}.items() if value}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        answer: Task = self.http.post("/tasks", body, repeatable=True, headers=headers)
        return answer

    def _request(
        self,
        capability: str,
        inputs: Mapping[str, Any] | None,
        objective: str | None,
        constraints: dict[str, Any],
        deadline: datetime | timedelta | str | None,
        progress: Progress,
    ) -> dict[str, Any]:
        uploaded = self.upload_inputs(dict(inputs or {}), progress=progress)
        optional = {"objective": objective, "constraints": constraints, "deadline": _moment(deadline)}
        given = {key: value for key, value in optional.items() if value}
        return {"capability": capability, "inputs": uploaded} | given

    def task(self, task_id: str) -> Task:
        """One task as it stands now."""
        answer: Task = self.http.get(f"/tasks/{task_id}")
        return answer

    def tasks(
        self,
        *,
        state: str | None = None,
        capability: str | None = None,
        label: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Task]:
        """Tasks of the organization, newest first. `label` is "key:value"; `limit` None means all."""
        return self.http.pages(
            "/tasks",
            most=limit,
            state=state,
            capability=capability,
            label=label,
            created_after=created_after,
            created_before=created_before,
        )

    def wait(
        self,
        task_id: str,
        timeout: float | None = None,
        *,
        on_change: Callable[[Task], None] | None = None,
        settle_s: float = 0.0,
    ) -> Task:
        """Wait until the task has ended, in whatever way, and return it. WaitTimeout after `timeout` seconds.

        `on_change` sees the task at every look. `settle_s`: how long to wait further for the final cost. A platform
        that goes away meanwhile, to restart say, is waited for: for `retry.patience_s`, then Unreachable is raised.
        """
        until = None if timeout is None else time.monotonic() + timeout
        task, pause = self._look(task_id, on_change), POLL_FIRST_S
        while task["state"] not in ENDED:
            left = pause if until is None else until - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"task {task_id} is still {task['state']} after {timeout:g} s; it goes on", task)
            time.sleep(min(pause, left))
            pause = min(POLL_MOST_S, pause * 1.3)
            task = self._look_again(task_id, on_change)
        settled = time.monotonic() + settle_s
        while not task["cost"]["final"] and time.monotonic() < settled:
            time.sleep(POLL_FIRST_S)
            task = self._look_again(task_id, on_change)
        return task

    def _look_again(self, task_id: str, on_change: Callable[[Task], None] | None) -> Task:
        patient = time.monotonic() + self.http.retry.patience_s
        while True:
            try:
                return self._look(task_id, on_change)
            except (Unreachable, PlatformFault) as error:
                if error.status not in (None, *BUSY) or time.monotonic() > patient:
                    raise
            time.sleep(self.http.retry.delay(1))

    def _look(self, task_id: str, on_change: Callable[[Task], None] | None) -> Task:
        task = self.task(task_id)
        if on_change is not None:
            on_change(task)
        return task

    def cancel(self, task_id: str) -> Task:
        """Ask that the task be cancelled. It ends once no attempt of it lives any more; asking twice is once."""
        answer: Task = self.http.post(f"/tasks/{task_id}/cancel", repeatable=True)
        return answer

    def units(self, task_id: str, *, limit: int | None = None) -> Iterator[Unit]:
        """The task's units with their attempts."""
        return self.http.pages(f"/tasks/{task_id}/units", most=limit)

    def explain(self, task_id: str) -> dict[str, Any]:
        """Why it runs where it runs, or why it still waits."""
        answer: dict[str, Any] = self.http.get(f"/tasks/{task_id}/explain")
        return answer

    def charges(self, task_id: str, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """What the task was charged, with lines and journal entries, oldest first; nothing until it is settled."""
        return self.http.pages(f"/tasks/{task_id}/charges", most=limit)

    def logs(
        self,
        task_id: str,
        *,
        unit: int | None = None,
        stage: str | None = None,
        attempt: int | str | None = None,
        stream: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogChunk]:
        """What its programs wrote, in chunks; with `follow` until the task has ended and all is read."""
        chosen = {"unit": unit, "stage": stage, "attempt": attempt, "stream": stream}
        cursor, ended = None, not follow
        while True:
            page = self.http.get(f"/tasks/{task_id}/logs", after=cursor, **chosen)
            yield from page["chunks"]
            moved, cursor = page.get("next") not in (None, cursor), page.get("next") or cursor
            if page["chunks"] and moved:
                continue
            if ended:
                return
            ended = self.task(task_id)["state"] in ENDED
            time.sleep(0 if ended else POLL_FIRST_S * 3)


def _constraints(
    regions: Sequence[str],
    providers: Sequence[str],
    exclude_providers: Sequence[str],
    max_price: Decimal | str | int | None,
    more: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """`more`: weights, min_trust, min_level, accept_unproven, network, and whatever else the platform knows as a constraint."""
    everything = {
        "regions": list(regions),
        "providers": list(providers),
        "exclude_providers": list(exclude_providers),
        "max_price": None if max_price is None else str(max_price),
        **(more or {}),
    }
    return {key: value for key, value in everything.items() if value}


def _moment(deadline: datetime | timedelta | str | None) -> str | None:
    """RFC 3339 in UTC. A duration counts from now; a naive time is local."""
    if isinstance(deadline, timedelta):
        deadline = datetime.now(UTC) + deadline
    if isinstance(deadline, datetime):
        return deadline.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return deadline

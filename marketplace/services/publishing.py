"""A version's tests: what they are, and the verdict on them that publishes the version or returns it to draft.

begin_tests ─► (test tasks run) ─► (those that failed by one owner's word run again elsewhere) ─► conclude_tests

A test whose result nobody compares rests on the word of one owner. An owner who says that a program yields nothing could keep it
from being listed, so a failure by one owner's word is confirmed by another's where there is one (scheduler/services/concluding.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import transaction
from django.utils import timezone

from core.errors import Conflict, Invalid
from core.moves import move, terminal_states
from marketplace import storage
from marketplace.manifest import artifact_fields, files_of_tests
from marketplace.models import Artifact, Capability, CapabilityVersion, Result, Task
from marketplace.paths import matches
from marketplace.programs import MAX_TEST_FILE, read_members
from marketplace.services.artifacts import blob_received

State = CapabilityVersion.State
MOVES: Final = CapabilityVersion.MOVES
MAX_RESULT_MANIFEST: Final = 64 * 1024**2


@dataclass(frozen=True)
class TestCase:
    """A test of a version, ready to be submitted: its files are artifacts of the publisher by now."""

    __test__ = False

    name: str
    inputs: dict[str, Any]
    expect_files: list[str]


def begin_tests(version: CapabilityVersion) -> CapabilityVersion:
    """Draft → testing, with a clear report. The caller submits `tests_of` in the same transaction.

    Raises Invalid `no_tests`, Conflict `tests_running` or `version_is_immutable`.
    """
    if not version.manifest["tests"]:
        raise Invalid("no_tests", "a version is listed when its tests pass, so it needs one", field="manifest.tests")
    if not move(CapabilityVersion.objects.all(), [version.pk], MOVES, State.TESTING, test_report=[]):
        version.refresh_from_db(fields=["state"])
        if version.state == State.TESTING:
            raise Conflict("tests_running", f"{version} is being tested")
        raise Conflict("version_is_immutable", f"{version} is {version.state}")
    version.refresh_from_db()
    return version


def tests_of(version: CapabilityVersion) -> list[TestCase]:
    """The version's test cases; their files come out of the program and become the publisher's artifacts."""
    stored = _store_test_files(version)
    takes_many = dict(artifact_fields(version.manifest))
    return [
        TestCase(
            name=test["name"],
            inputs=test["inputs"]
            | {
                name: [stored[path] for path in paths] if takes_many[name] else stored[paths[0]]
                for name, paths in test["files"].items()
            },
            expect_files=test["expect"]["files"],
        )
        for test in version.manifest["tests"]
    ]


def _store_test_files(version: CapabilityVersion) -> dict[str, str]:
    """Path in the program → id of an artifact with its bytes. Repeating it makes nothing new."""
    paths = {path for _, _, path in files_of_tests(version.manifest)}
    if not paths or version.program_id is None:
        return {}
    with storage.open_file(version.program_id) as packed:
        contents = read_members(packed, paths, MAX_TEST_FILE)
    return {path: _store_test_file(version, path, data) for path, data in contents.items()}


def _store_test_file(version: CapabilityVersion, path: str, data: bytes) -> str:
    owner = version.capability.organization
    blob = blob_received(storage.put_bytes(data), len(data), owner.region_id)
    name = path.removeprefix("tests/")
    same = Artifact.objects.filter(organization=owner, blob_id=blob.pk, name=name, deleted_at__isnull=True)
    artifact = same.first() or Artifact.objects.create(organization=owner, blob_id=blob.pk, name=name)
    return str(artifact.pk)


@dataclass(frozen=True)
class Tried:
    """What a test came to: the task of this try, and the one that ran it again at another owner's, if there is one."""

    first: Task
    again: Task | None = None

    @property
    def ended(self) -> bool:
        ended = terminal_states(Task.MOVES)
        return self.first.state in ended and (self.again is None or self.again.state in ended)


def tried_tests(version: CapabilityVersion) -> dict[str, Tried]:
    """Test's name → its latest try; those of earlier publishings are older."""
    tasks = Task.objects.filter(capability_version=version, kind=Task.Kind.TEST, labels__has_key="test")
    named: dict[str, list[Task]] = defaultdict(list)
    for task in tasks.select_related("result").order_by("-pk"):
        named[task.labels["test"]].append(task)
    return {name: tried for name, ones in named.items() if (tried := _latest(ones)) is not None}


def _latest(newest_first: list[Task]) -> Tried | None:
    first = next((task for task in newest_first if "confirms" not in task.labels), None)
    if first is None:
        return None
    return Tried(first, next((task for task in newest_first if task.labels.get("confirms") == str(first.pk)), None))


def failed_tests(version: CapabilityVersion) -> dict[str, Task]:
    """Test's name → its task, of those that failed and have not been run again."""
    tried = tried_tests(version)
    tests = [(test, tried.get(test["name"])) for test in version.manifest["tests"]]
    unconfirmed = [(test, one.first) for test, one in tests if one is not None and one.ended and one.again is None]
    return {test["name"]: task for test, task in unconfirmed if fault_of(test, task)}


def conclude_tests(version_id: int) -> None:
    """When every test task of a version under test has ended: published, or a draft again, with the report.

    Does nothing while tasks run, or when the version is no longer under test; so it may be called at any
    time.
    """
    version = CapabilityVersion.objects.filter(pk=version_id, state=State.TESTING).first()
    if version is None:
        return
    tried = tried_tests(version)
    tests = version.manifest["tests"]
    if any(test["name"] not in tried or not tried[test["name"]].ended for test in tests):
        return
    report = [_verdict(test, tried[test["name"]]) for test in tests]
    if all(entry["state"] == "passed" for entry in report):
        _publish(version, report, timezone.now())
    else:
        move(CapabilityVersion.objects.all(), [version_id], MOVES, State.DRAFT, test_report=report)


def _verdict(test: Mapping[str, Any], tried: Tried) -> dict[str, Any]:
    """One line of the report: {name, state: passed | failed, task, detail}.

    Where the test ran twice, one that passes is enough: whoever saw the program work has its files to show.
    """
    task, fault = tried.first, fault_of(test, tried.first)
    passed, detail = not fault, fault
    if fault and tried.again is not None and tried.again.state == Task.State.DELIVERED:
        task, second = tried.again, fault_of(test, tried.again)
        passed, detail = not second, second or f"passed at another owner's; the first said: {fault}"
    state = "passed" if passed else "failed"
    return {"name": test["name"], "state": state, "task": str(task.pk), "detail": detail[:500]}


def fault_of(test: Mapping[str, Any], task: Task) -> str:
    """Why the test's task does not pass; empty: it does."""
    if task.state != Task.State.DELIVERED:
        return task.reason or task.reason_class or task.state
    paths = _result_paths(task)
    missing = [glob for glob in test["expect"]["files"] if not any(matches(glob, path) for path in paths)]
    return f"the result holds no file like {missing[0]}, but {_listed(paths)}" if missing else ""


def _listed(paths: Collection[str]) -> str:
    """The first few of them, for a person."""
    shown = ", ".join(sorted(paths)[:5]) or "none"
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _result_paths(task: Task) -> list[str]:
    result: Result | None = getattr(task, "result", None)
    if result is None:
        return []
    manifest = orjson.loads(storage.read_bytes(result.manifest_id, MAX_RESULT_MANIFEST))
    return [file["path"] for file in manifest["files"]]


def _publish(version: CapabilityVersion, report: list[dict[str, Any]], now: datetime) -> None:
    with transaction.atomic():
        rows = CapabilityVersion.objects.all()
        if move(rows, [version.pk], MOVES, State.PUBLISHED, test_report=report, published_at=now):
            summary = version.manifest["summary"]
            Capability.objects.filter(pk=version.capability_id).update(summary=summary)



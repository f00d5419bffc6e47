"""Capabilities: drafts, their tests, publishing. A version that has left the draft never changes.

create_version ─► begin_tests ─► (test tasks run) ─► conclude_tests ─► published, or a draft again
                                                                        └─► deprecate ─► withdraw
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone

from core.errors import Conflict, Invalid, NotAllowed
from core.moves import move, sources_of, terminal_states
from core.wake import wake
from marketplace import storage
from marketplace.manifest import (
    MAX_TEXT_BYTES,
    Manifest,
    artifact_fields,
    check_manifest,
    digest_of,
    load_manifest,
    requirements_of,
)
from marketplace.models import Artifact, Capability, CapabilityVersion, Organization, Result, Task
from marketplace.paths import matches
from marketplace.programs import (
    MAX_PACKED,
    MAX_REQUIREMENTS,
    MAX_TEST_FILE,
    check_program,
    check_requirements,
    read_member,
    read_members,
)
from marketplace.services.artifacts import blob_received, resolve_artifacts

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


def create_version(
    organization: Organization, manifest: Mapping[str, Any] | str, program_id: UUID | None = None
) -> tuple[CapabilityVersion, bool]:
    """A draft from a manifest (a document, or YAML text) and its program's artifact: (version, new).

    The same content again is the same version, in whatever state it is; other content replaces a draft and
    nothing else. Raises NotAllowed `not_a_publisher`; Invalid whose field begins with `manifest.` or is
    `program`; Conflict `version_is_immutable`.
    """
    if not organization.is_publisher:
        raise NotAllowed("not_a_publisher", "the organization is not admitted as a capability provider")
    checked = _within("manifest", lambda: _read_manifest(manifest))
    program = _program_of(organization, program_id)
    requirements = _check_files(checked, program)
    sha256 = program.blob_id if program else None
    content = {
        "manifest": checked,
        "digest": digest_of(checked, sha256),
        "program_id": sha256,
        "requirements": requirements,
    }
    with transaction.atomic():
        return _write_draft(organization, checked, content)


def _read_manifest(manifest: Mapping[str, Any] | str) -> Manifest:
    if isinstance(manifest, str):
        return check_manifest(load_manifest(manifest))
    if len(orjson.dumps(manifest)) > MAX_TEXT_BYTES:
        raise Invalid("invalid_manifest", f"a manifest may have {MAX_TEXT_BYTES} bytes")
    return check_manifest(dict(manifest))


def _within(prefix: str, check: Callable[[], Any]) -> Any:
    """Errors of a part, with the part's name before their field."""
    try:
        return check()
    except Invalid as error:
        field = f"{prefix}.{error.field}" if error.field else prefix
        raise Invalid(error.code, error.detail, field=field, **error.data) from None


def _program_of(organization: Organization, program_id: UUID | None) -> Artifact | None:
    if program_id is None:
        return None
    artifact = resolve_artifacts(organization, {program_id: "program"})[program_id]
    if artifact.blob.bytes > MAX_PACKED:
        raise Invalid("invalid_program", f"a program may have {MAX_PACKED} bytes", field="program")
    return artifact


def _check_files(manifest: Manifest, program: Artifact | None) -> str:
    """The program is safe and holds every file that the manifest names. Returns its pinned requirements."""
    held = _within("program", lambda: _files_of(program))
    named = {f"tests.{number}.files.{name}": path for number, name, path in _test_files(manifest)}
    wanted = requirements_of(manifest)
    for field, path in {**named, **wanted}.items():
        if path not in held:
            raise Invalid("file_missing", f"the program holds no file {path!r}", field=f"manifest.{field}")
    if program is None:
        return ""
    read = {
        field: str(_within(f"manifest.{field}", lambda path=path: _requirements_of(program, path)))  # type: ignore[misc]
        for field, path in wanted.items()
    }
    return read.get("requirements", "")


def _files_of(program: Artifact | None) -> set[str]:
    if program is None:
        return set()
    with storage.open_file(program.blob_id) as packed:
        return check_program(packed)


def _requirements_of(program: Artifact, path: str) -> str:
    with storage.open_file(program.blob_id) as packed:
        data = read_member(packed, path, MAX_REQUIREMENTS)
    try:
        return check_requirements(data.decode())
    except UnicodeDecodeError:
        raise Invalid("invalid_requirements", "must be UTF-8 text") from None


def _test_files(manifest: Manifest) -> list[tuple[int, str, str]]:
    """(number of the test, input, path in the program) of every file of every test."""
    return [
        (number, name, path)
        for number, test in enumerate(manifest["tests"])
        for name, paths in test["files"].items()
        for path in paths
    ]


def _write_draft(
    organization: Organization, manifest: Manifest, content: dict[str, Any]
) -> tuple[CapabilityVersion, bool]:
    capability, _ = Capability.objects.get_or_create(
        organization=organization, name=manifest["name"], defaults={"summary": manifest["summary"]}
    )
    version, new = CapabilityVersion.objects.get_or_create(
        capability=capability, version=manifest["version"], defaults=content
    )
    if new or version.digest == content["digest"]:
        return version, new
    replaced = CapabilityVersion.objects.filter(pk=version.pk, state=State.DRAFT)
    if not replaced.update(**content, test_report=[]):
        detail = f"{version} is {version.state} and never changes; give the manifest a new version"
        raise Conflict("version_is_immutable", detail, field="manifest.version")
    version.refresh_from_db()
    return version, True


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
    paths = {path for _, _, path in _test_files(version.manifest)}
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


def conclude_tests(version_id: int) -> None:
    """When every test task of a version under test has ended: published, or a draft again, with the report.

    Does nothing while tasks run, or when the version is no longer under test; so it may be called at any
    time.
    """
    version = CapabilityVersion.objects.filter(pk=version_id, state=State.TESTING).first()
    if version is None:
        return
    tasks = _newest_test_tasks(version)
    tests = version.manifest["tests"]
    ended = terminal_states(Task.MOVES)
    if any(test["name"] not in tasks or tasks[test["name"]].state not in ended for test in tests):
        return
    report = [_verdict(test, tasks[test["name"]]) for test in tests]
    if all(entry["state"] == "passed" for entry in report):
        _publish(version, report, timezone.now())
    else:
        move(CapabilityVersion.objects.all(), [version_id], MOVES, State.DRAFT, test_report=report)


def _newest_test_tasks(version: CapabilityVersion) -> dict[str, Task]:
    """Test's name → its latest task; those of earlier tries are older."""
    tasks = Task.objects.filter(capability_version=version, kind=Task.Kind.TEST).select_related("result")
    named = tasks.annotate(test=KeyTextTransform("test", "labels"))
    latest = named.order_by("test", "-pk").distinct("test")
    return {str(task.labels["test"]): task for task in latest if "test" in task.labels}


def _verdict(test: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """One line of the report: {name, state: passed | failed, task, detail}."""
    if task.state != Task.State.DELIVERED:
        detail = task.reason or task.reason_class or task.state
    else:
        paths = _result_paths(task)
        missing = [glob for glob in test["expect"]["files"] if not any(matches(glob, path) for path in paths)]
        detail = f"the result holds no file like {missing[0]}, but {_listed(paths)}" if missing else ""
    state = "failed" if detail else "passed"
    return {"name": test["name"], "state": state, "task": str(task.pk), "detail": detail[:500]}


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


def deprecate(version: CapabilityVersion) -> CapabilityVersion:
    """Published → deprecated: takes no new tasks. Conflict `version_not_published`."""
    return _moved(version, State.DEPRECATED)


def withdraw(version: CapabilityVersion) -> CapabilityVersion:
    """Any state → withdrawn: takes no new tasks, and those that have not begun are cancelled."""
    with transaction.atomic():
        withdrawn = _moved(version, State.WITHDRAWN)
        waiting = Task.objects.filter(
            capability_version=version, state=Task.State.QUEUED, cancel_requested_at__isnull=True
        )
        if waiting.update(cancel_requested_at=timezone.now()):
            wake("scheduler.sweep")
    return withdrawn


def _moved(version: CapabilityVersion, to: str) -> CapabilityVersion:
    """Move; a version that is there already stays. Conflict names the state that is."""
    moved = move(CapabilityVersion.objects.all(), [version.pk], MOVES, to)
    version.refresh_from_db()
    if not moved and version.state != to:
        allowed = " or ".join(sources_of(MOVES, to))
        raise Conflict("version_state", f"{version} is {version.state}, not {allowed}", state=version.state)
    return version


def trust(version: CapabilityVersion, *, trusted: bool = True) -> CapabilityVersion:
    """An operator's word: this version may run on machines without a sandbox."""
    CapabilityVersion.objects.filter(pk=version.pk).update(trusted=trusted)
    version.refresh_from_db()
    return version

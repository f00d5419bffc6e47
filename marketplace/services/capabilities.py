"""Capabilities: drafts, and what becomes of a published version. One that has left the draft never changes.

create_version ─► (publishing.py: its tests run) ─► published ─► deprecate ─► withdraw
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotAllowed
from core.moves import move, sources_of
from core.wake import wake
from marketplace import storage
from marketplace.manifest import (
    MAX_TEXT_BYTES,
    Manifest,
    check_manifest,
    digest_of,
    files_of_tests,
    load_manifest,
    requirements_of,
)
from marketplace.models import Artifact, Capability, CapabilityVersion, Organization, Task
from marketplace.models.capabilities import Application
from marketplace.programs import (
    MAX_PACKED,
    MAX_REQUIREMENTS,
    check_program,
    check_requirements,
    read_member,
)
from marketplace.services.artifacts import resolve_artifacts

State = CapabilityVersion.State
MOVES: Final = CapabilityVersion.MOVES
MAX_RESULT_MANIFEST: Final = 64 * 1024**2


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
    named = {f"tests.{number}.files.{name}": path for number, name, path in files_of_tests(manifest)}
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


def say_application(capability: Capability, application: str) -> Capability:
    """An operator's word: of which new kind of application it is; empty: of none. Invalid `application_unknown`."""
    if application and application not in Application.values:
        raise Invalid("application_unknown", f"one of {', '.join(Application.values)}, or empty", field="application")
    Capability.objects.filter(pk=capability.pk).update(application=application)
    capability.refresh_from_db(fields=["application"])
    return capability


def trust(version: CapabilityVersion, *, trusted: bool = True) -> CapabilityVersion:
    """An operator's word: this version may run on machines without a sandbox."""
    CapabilityVersion.objects.filter(pk=version.pk).update(trusted=trusted)
    version.refresh_from_db()
    return version

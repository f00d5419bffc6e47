"""Manifests, programs, artifacts and versions for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from marketplace import storage
from marketplace.manifest import check_manifest, digest_of
from marketplace.models import Artifact, Capability, CapabilityVersion
from marketplace.services.artifacts import blob_received
from tests import builders as build

PINNED = f"numpy==2.0.0 --hash=sha256:{'0' * 64}\n"


def a_manifest(**parts: Any) -> dict[str, Any]:
    """A manifest as a publisher writes it: one unit per frame, one test. A part given as None is left out."""
    document: dict[str, Any] = {
        "gridfare": 1,
        "name": "render",
        "version": "1.0.0",
        "summary": "Pictures of a scene",
        "inputs": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "frames": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 24},
                "scene": {"type": "string", "format": "artifact"},
                "files": {"type": "array", "items": {"type": "string", "format": "artifact"}},
            },
        },
        "outputs": [{"path": "frames/*.png"}],
        "run": ["python", "render.py"],
        "resources": {"cores": 1, "memory_mib": 128, "disk_mib": 64},
        "demand": {"tflop": "0.5 * frames"},
        "split": {"by": "range", "stop": "frames"},
        "tests": [{"name": "one frame", "inputs": {"frames": 1}, "expect": {"files": ["**/*.png"]}}],
    }
    return {key: value for key, value in (document | parts).items() if value is not None}


def a_checked_manifest(**parts: Any) -> dict[str, Any]:
    """The same, as it is stored."""
    return check_manifest(a_manifest(**parts))


def a_program(files: Mapping[str, bytes | str] | None = None, *members: tarfile.TarInfo) -> bytes:
    """A .tar.gz with these files, and with further members as they are (links, devices, odd names)."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(mode="w", fileobj=compressed) as archive,
    ):
        for name, content in (files if files is not None else {"render.py": "print(1)\n"}).items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return packed.getvalue()


def a_link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link, or with another kind whatever tar knows."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def an_artifact(owner: build.Person, data: bytes, name: str = "data.bin", **fields: Any) -> Artifact:
    """An artifact whose bytes are in the store."""
    blob = blob_received(storage.put_bytes(data), len(data), owner.organization.region_id)
    return Artifact.objects.create(
        organization=owner.organization, blob_id=blob.pk, name=name, created_by=owner.user, **fields
    )


def a_version(
    owner: build.Person | None = None,
    *,
    state: str = "published",
    program: bytes | None = None,
    requirements: str = "",
    trusted: bool = False,
    **parts: Any,
) -> CapabilityVersion:
    """A version of carol's capability in any state; parts are those of the manifest."""
    manifest = a_checked_manifest(**parts)
    organization = (owner or build.carol()).organization
    capability, _ = Capability.objects.get_or_create(
        organization=organization, name=manifest["name"], defaults={"summary": manifest["summary"]}
    )
    sha256 = None
    if program is not None:
        sha256 = blob_received(storage.put_bytes(program), len(program), None).pk
    published = timezone.now() if state in {"published", "deprecated"} else None
    return CapabilityVersion.objects.create(
        capability=capability,
        version=manifest["version"],
        manifest=manifest,
        digest=digest_of(manifest, sha256),
        program_id=sha256,
        requirements=requirements,
        state=state,
        trusted=trusted,
        published_at=published,
    )


def sha256_of(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def upload_through(client: Any, data: bytes, name: str = "data.bin", *, pieces: int = 1) -> UUID:
    """Upload through the API in some pieces; returns the artifact's id."""
    wanted = {"name": name, "sha256": sha256_of(data), "bytes": len(data)}
    answer = client.post("/api/v1/uploads", wanted).json()
    step = max(1, -(-len(data) // pieces))
    while answer["artifact"] is None:
        chunk = data[answer["offset"] : answer["offset"] + step]
        answer = send_bytes(client, answer["id"], answer["offset"], chunk).json()
    return UUID(answer["artifact"])


def send_bytes(client: Any, upload: str, offset: int | str, data: bytes) -> Any:
    """PATCH one piece of an upload."""
    return client.generic(
        "PATCH",
        f"/api/v1/uploads/{upload}",
        data,
        content_type="application/octet-stream",
        headers={"Upload-Offset": str(offset)},
    )

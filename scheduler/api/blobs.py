"""Blobs for agents: input files out, outputs in, by hash, only under a live lease (docs/protocol.md)."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from core.errors import Conflict, DomainError, NotFound
from core.http import REFUSED, json_answer, method_not_allowed, problem_answer
from marketplace import storage
from marketplace.agent_auth import authenticate
from marketplace.models import Agent, Blob
from marketplace.services.artifacts import part_offset, receive_part, register_places
from marketplace.services.storekeeping import may_fetch
from marketplace.stages import VALIDATES
from scheduler.sql import PART, dicts, rows

_LIVE: Final = f"""
SELECT a.task_id, a.unit_id, u.stage, p.region_id, cv.program_id, t.units_index->>'sha256' AS index_sha,
       greatest(({PART}->'limits'->>'output_mib')::bigint,
                CASE WHEN u.stage = 0 AND t.plan ? 'checkpoint' THEN (t.plan->'limits'->>'disk_mib')::bigint END)
           AS output_mib
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
JOIN marketplace_capabilityversion cv ON cv.id = t.capability_version_id JOIN marketplace_pool p ON p.id = a.pool_id
WHERE a.id = %s AND a.fence = %s AND a.agent_id = %s AND a.state IN ('leased', 'running')
"""
_MAY_READ: Final = f"""
SELECT 1 FROM marketplace_taskartifact f JOIN marketplace_artifact r ON r.id = f.artifact_id
WHERE f.task_id = %(task)s AND r.blob_id = %(sha)s
UNION ALL
SELECT 1 FROM scheduler_output o WHERE %(stage)s > 0 AND %(stage)s < {VALIDATES} AND o.task_id = %(task)s AND o.blob_id = %(sha)s
UNION ALL
SELECT 1 FROM scheduler_unit v
JOIN scheduler_unit u ON u.task_id = v.task_id AND u.stage = v.stage - {VALIDATES} AND u.index = v.index
JOIN scheduler_attempt a ON a.unit_id = u.id AND a.checked AND a.state = 'reported'
JOIN scheduler_output o ON o.attempt_id = a.id
WHERE %(stage)s >= {VALIDATES} AND v.id = %(unit)s AND o.blob_id = %(sha)s
UNION ALL
SELECT 1 FROM scheduler_checkpoint c
WHERE c.unit_id = %(unit)s AND c.files @> jsonb_build_array(jsonb_build_object('sha256', %(sha)s::text)) LIMIT 1
"""


@csrf_exempt
def blob(request: HttpRequest, attempt: int, fence: int, sha256: str) -> HttpResponseBase:
    """GET an input or a checkpoint, HEAD to see how far an upload got, PUT an output or a part of one."""
    try:
        agent = authenticate(request.method or "", request.get_full_path(), request.headers, None)
        lease = _live(agent, attempt, fence)
        if request.method == "GET":
            return _read(request, lease, sha256)
        if request.method == "HEAD":
            return _offset(attempt, sha256)
        if request.method == "PUT":
            return _write(request, lease, attempt, sha256)
    except REFUSED as error:
        answer = problem_answer(error)
        if isinstance(error, DomainError) and "offset" in error.data:
            answer["Upload-Offset"] = str(error.data["offset"])
        return answer
    return method_not_allowed(request, "GET", "HEAD", "PUT")


@csrf_exempt
def kept_blob(request: HttpRequest, sha256: str) -> HttpResponseBase:
    """GET a copy that the agent's pool is to keep."""
    if request.method != "GET":
        return method_not_allowed(request, "GET")
    try:
        agent = authenticate(request.method, request.get_full_path(), request.headers, None)
        size = may_fetch(agent, sha256)
        if size is None:
            raise NotFound("replica_unknown", "your pool keeps no copy of this")
        return storage.range_response(request, sha256, size)
    except REFUSED as error:
        return problem_answer(error)


def _live(agent: Agent, attempt: int, fence: int) -> dict[str, Any]:
    found = dicts(_LIVE, [attempt, fence, agent.pk]) if attempt < 2**63 and fence < 2**31 else []
    if not found:
        raise Conflict("stale_lease", "no live attempt of yours with this fence")
    return found[0]


def _read(request: HttpRequest, lease: dict[str, Any], sha256: str) -> HttpResponseBase:
    named = sha256 in (lease["program_id"], lease["index_sha"])
    where = {"task": lease["task_id"], "unit": lease["unit_id"], "stage": lease["stage"]}
    allowed = named or rows(_MAY_READ, where | {"sha": sha256})
    if not allowed:
        raise NotFound("not_found", "this attempt has no such input")
    size = Blob.objects.values_list("bytes", flat=True).get(pk=sha256)
    return storage.range_response(request, sha256, size)


def _spool_key(attempt: int) -> str:
    """Parts are private to an attempt: nobody goes on with what another one began."""
    return f"attempt-{attempt}"


def _offset(attempt: int, sha256: str) -> HttpResponse:
    answer = HttpResponse()
    done = Blob.objects.filter(pk=sha256).exists()
    answer["Upload-Offset"] = str(0 if done else part_offset(sha256, spool_key=_spool_key(attempt)))
    answer["Upload-Complete"] = "?1" if done else "?0"
    return answer


def _write(request: HttpRequest, lease: dict[str, Any], attempt: int, sha256: str) -> HttpResponse:
    known = Blob.objects.filter(pk=sha256).first()
    if known is not None:
        register_places([sha256], lease["region_id"])
        return json_answer({"complete": True, "offset": known.bytes}, status=200)
    part = receive_part(
        sha256,
        request.headers.get("Content-Range"),
        request,
        spool_key=_spool_key(attempt),
        region_id=lease["region_id"],
        max_bytes=lease["output_mib"] * 1024 * 1024,
    )
    answer = json_answer({"complete": part.complete, "offset": part.offset}, status=201 if part.complete else 202)
    answer["Upload-Offset"] = str(part.offset)
    return answer

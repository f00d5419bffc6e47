"""Reports as agents send them: parsed, bounded, verified. Pure.

Nothing an agent says is trusted further than this file: texts are cut, numbers are clamped to what a column holds,
paths must stay below the working folder, and the batch must be the next link of the agent's signed chain.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature

from core.errors import Conflict, Invalid
from marketplace.agent_auth import public_key
from marketplace.paths import matches, why_unsafe
from scheduler.reasons import REPORTABLE

MAX_ITEMS: Final = 20_000
MAX_OUTPUTS: Final = 10_000
MAX_SALT: Final = 128
OUTCOMES: Final = ("done", "failed", "cancelled", "released", "committed")
_INT64: Final = 2**63 - 1
_INT32: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ReportedOutput:
    path: str
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Report:
    """One ended attempt, as docs/protocol.md describes it. `usage_text` is the agent's claim as JSON text.

    A `committed` one has not ended: `commitment` binds it to its result, which the `salt` of its report proves.
    """

    attempt: int
    fence: int
    outcome: str
    reason_class: str = ""
    code: str = ""
    detail: str = ""
    exit_code: int | None = None
    usage_text: str | None = None
    wall_ms: int = 0
    outputs: tuple[ReportedOutput, ...] = ()
    peak_mib: int = 0
    bytes_out: int = 0
    commitment: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True)
class ReportedBatch:
    seq: int
    prev: str
    digest: str
    signature: str
    reports: list[Report]


@dataclass(frozen=True, slots=True)
class SpecOutputs:
    """The globs that a valid result of this spec must match."""

    required: tuple[str, ...] = ()

    @classmethod
    def of(cls, outputs: list[dict[str, Any]]) -> SpecOutputs:
        return cls(tuple(o["path"] for o in outputs if o.get("required", True)))


def batch_digest(prev: str, items: list[Any]) -> str:
    """SHA-256 over the digest before and the canonical items: the chain of docs/protocol.md."""
    text = orjson.dumps(items, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(prev.encode() + text).hexdigest()


def parse_batch(body: Any, *, last_seq: int, last_digest: str) -> ReportedBatch | None:
    """Check and parse `reports` of a sync. None when there is none.

    Raises Invalid for a malformed batch, Conflict("broken_chain") when it does not follow the last one.
    """
    if body is None:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("items"), list):
        raise Invalid("invalid_reports", "reports must be an object with items", field="reports")
    if len(body["items"]) > MAX_ITEMS:
        raise Invalid("too_many_reports", f"at most {MAX_ITEMS} reports in a batch", field="reports.items")
    seq = _whole(body.get("seq"), "reports.seq")
    texts = [body.get(name) for name in ("prev", "digest", "signature")]
    if not all(isinstance(text, str) and len(text) <= 100 for text in texts):
        raise Invalid("invalid_reports", "prev, digest and signature are texts", field="reports")
    prev, digest, signature = (str(text) for text in texts)
    repeated = seq == last_seq and digest == last_digest
    if not repeated and (seq != last_seq + 1 or prev != last_digest):
        raise Conflict(
            "broken_chain", "this batch does not follow the last one", last_seq=last_seq, last_digest=last_digest
        )
    if batch_digest(prev, body["items"]) != digest:
        raise Invalid("invalid_digest", "the digest does not fit the items", field="reports.digest")
    reports = [parse_report(item, f"reports.items.{i}") for i, item in enumerate(body["items"])]
    return ReportedBatch(seq, prev, digest, signature, reports)


def verify_batch(batch: ReportedBatch, key: str) -> None:
    """Check the agent's signature over the digest's text. Raises Invalid."""
    try:
        public_key(key).verify(base64.b64decode(batch.signature), batch.digest.encode())
    except (InvalidSignature, ValueError):
        raise Invalid("invalid_signature", "the signature does not fit the digest", field="reports.signature") from None


def parse_report(item: Any, at: str) -> Report:
    """One report; a done one claims outputs, the others a reason."""
    if not isinstance(item, dict):
        raise Invalid("invalid_reports", "a report is an object", field=at)
    outcome = item.get("outcome")
    if outcome not in OUTCOMES:
        raise Invalid("invalid_outcome", f"outcome is one of {', '.join(OUTCOMES)}", field=f"{at}.outcome")
    claim = item.get("usage")
    usage: dict[str, Any] = claim if isinstance(claim, dict) else {}
    report = Report(
        attempt=_whole(item.get("attempt"), f"{at}.attempt"),
        fence=_whole(item.get("fence"), f"{at}.fence", _INT32),
        outcome=outcome,
        reason_class=_reason(outcome, item.get("reason_class")),
        code=_text(item.get("code"), 30),
        detail=_text(item.get("detail"), 500),
        exit_code=_exit_code(item.get("exit_code")),
        usage_text=_usage_text(usage),
        wall_ms=_clamped(usage.get("wall_ms")),
        peak_mib=min(_clamped(usage.get("peak_memory_mib")), _INT32),
        commitment=_commitment(outcome, item.get("commitment"), f"{at}.commitment"),
        salt=_text(item.get("salt"), MAX_SALT),
    )
    return _with_outputs(report, item.get("outputs"))


def _commitment(outcome: str, value: Any, at: str) -> str:
    if outcome != "committed":
        return ""
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise Invalid("invalid_commitment", "64 hexadecimal digits", field=at)
    return value


def commitment_of(result_hash: str, salt: str) -> str:
    """What binds an attempt to its result: SHA-256 over the result's hash (as hex text) and the salt's text."""
    return hashlib.sha256((result_hash + salt).encode()).hexdigest()


def result_hash_of(report: Report, sizes: Mapping[str, int]) -> str:
    """SHA-256 over the sorted lines `path TAB bytes TAB sha256 LF` of a report's files. `sizes`: bytes of stored blobs."""
    lines = [f"{output.path}\t{sizes.get(output.sha256, 0)}\t{output.sha256}\n" for output in report.outputs]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _with_outputs(report: Report, outputs: Any) -> Report:
    """Outputs that cannot be taken spoil their own attempt, not the batch: others in it did nothing wrong."""
    if report.outcome != "done" or not outputs:
        return report
    try:
        return replace(report, outputs=_outputs(outputs))
    except Invalid as error:
        return _failed(report, "invalid_result", error.code, error.detail)


def judge(report: Report, promised: SpecOutputs, stored: Collection[str]) -> Report:
    """The server's own check of a claimed result: everything named is in the store, everything required is named."""
    if report.outcome != "done":
        return report
    missing = [output.path for output in report.outputs if output.sha256 not in stored]
    if missing:
        detail = f"{missing[0]} was named but never arrived"
        return _failed(report, "node_fault", "upload_failed", detail)
    paths = [output.path for output in report.outputs]
    for pattern in promised.required:
        if not any(matches(pattern, path) for path in paths):
            return _failed(report, "invalid_result", "outputs_missing", f"nothing matches {pattern}")
    return report


def measured(report: Report, stored: Mapping[str, int]) -> Report:
    """With the bytes of its outputs as they lie in the store: what a later task's result is likely to weigh."""
    if not report.outputs:
        return report
    return replace(report, bytes_out=sum(stored[output.sha256] for output in report.outputs))


def unasked(report: Report) -> Report:
    """Cancelled, but nobody wished it: the machine dropped its work. Otherwise its unit would be gone, and its task never end."""
    return _failed(report, "node_fault", "cancelled", "the agent stopped it though nobody had asked")


def first_of_each(reports: Iterable[Report]) -> list[Report]:
    """Reports without repeats: of several about one lease the first counts, as it would have in batches of their own."""
    first: dict[tuple[int, int, bool], Report] = {}
    for report in reports:
        first.setdefault((report.attempt, report.fence, report.outcome == "committed"), report)
    return list(first.values())


def _failed(report: Report, reason: str, code: str, detail: str) -> Report:
    return replace(report, outcome="failed", reason_class=reason, code=code, detail=detail[:500], outputs=())


def _whole(value: Any, at: str, most: int = _INT64) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Invalid("invalid_number", "a whole number, not negative", field=at)
    return value


def _clamped(value: Any) -> int:
    return min(max(int(value), 0), 10**12) if isinstance(value, int) and not isinstance(value, bool) else 0


def _exit_code(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def _text(value: Any, limit: int) -> str:
    return value[:limit].replace("\x00", "") if isinstance(value, str) else ""


def _reason(outcome: str, reason: Any) -> str:
    if outcome in ("done", "released", "committed"):
        return ""
    if outcome == "cancelled":
        return "user_cancel"
    return reason if reason in REPORTABLE and reason != "user_cancel" else "node_fault"


def _usage_text(usage: Any) -> str | None:
    """The claim as it will stand in the database; jsonb cannot hold U+0000, and nobody needs a long one."""
    text = orjson.dumps(usage).decode()
    return text if len(text) <= 4_000 and "\\u0000" not in text else "{}"


def _outputs(value: Any) -> tuple[ReportedOutput, ...]:
    if not isinstance(value, list) or len(value) > MAX_OUTPUTS:
        raise Invalid("invalid_outputs", f"a list of at most {MAX_OUTPUTS} files")
    return tuple(_output(one) for one in value)


def _output(value: Any) -> ReportedOutput:
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str) or len(path) > 300 or why_unsafe(path):
        raise Invalid("unsafe_path", "an output's path must stay below the working folder")
    sha = value.get("sha256")
    if not isinstance(sha, str) or len(sha) != 64:
        raise Invalid("invalid_sha256", "64 hexadecimal digits")
    return ReportedOutput(path, sha, _text(value.get("media_type"), 100) or "application/octet-stream")

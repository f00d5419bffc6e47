"""Reports as agents send them: nothing they say is trusted further than it can be checked."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Conflict, Invalid
from scheduler.reasons import REPORTABLE
from scheduler.reports import (
    MAX_ITEMS,
    OUTCOMES,
    Report,
    ReportedOutput,
    SpecOutputs,
    batch_digest,
    first_of_each,
    judge,
    parse_batch,
    parse_report,
    unasked,
    verify_batch,
)
from tests.builders import agent_key, public_key_of
from tests.builders_tasks import sha_of

SHA = sha_of(b"a picture")


def an_item(**fields: Any) -> dict[str, Any]:
    return {"attempt": 1, "fence": 1, "outcome": "done"} | fields


def a_batch(*items: Any, seq: int = 1, prev: str = "", **fields: Any) -> dict[str, Any]:
    digest = batch_digest(prev, list(items))
    signature = base64.b64encode(agent_key("ada").sign(digest.encode())).decode()
    return {"seq": seq, "prev": prev, "digest": digest, "signature": signature, "items": list(items)} | fields


def parsed(**fields: Any) -> Report:
    return parse_report(an_item(**fields), "reports.items.0")


def test_a_batch_follows_the_last_one_or_repeats_it() -> None:
    first = parse_batch(a_batch(an_item()), last_seq=0, last_digest="")
    assert first is not None
    assert first.reports == [parsed()]
    again = parse_batch(a_batch(an_item()), last_seq=1, last_digest=first.digest)
    assert again == first
    second = parse_batch(a_batch(seq=2, prev=first.digest), last_seq=1, last_digest=first.digest)
    assert second is not None
    assert second.reports == []


@pytest.mark.parametrize(
    "batch",
    [
        a_batch(an_item(), seq=5),
        a_batch(an_item(), seq=0),
        a_batch(an_item(), seq=1, prev="ab" * 32),
        a_batch(an_item(fence=2), seq=0),
    ],
    ids=["a gap", "an old number", "another past", "an old number, other items"],
)
def test_a_batch_that_breaks_the_chain_is_told_where_the_chain_ends(batch: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as caught:
        parse_batch(batch, last_seq=0, last_digest="")
    assert (caught.value.code, caught.value.data) == ("broken_chain", {"last_seq": 0, "last_digest": ""})


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        ([], "reports"),
        ({"items": {}}, "reports"),
        (a_batch(seq=-1), "reports.seq"),
        (a_batch(seq=True), "reports.seq"),
        (a_batch(seq="1"), "reports.seq"),
        (a_batch(seq=2**63), "reports.seq"),
        (a_batch() | {"prev": None}, "reports"),
        (a_batch(signature="x" * 101), "reports"),
        (a_batch(an_item(), digest="0" * 64), "reports.digest"),
        (a_batch("no object"), "reports.items.0"),
        (a_batch(an_item(), an_item(outcome="perfect")), "reports.items.1.outcome"),
        (a_batch(an_item(outcome=["done"])), "reports.items.0.outcome"),
        (a_batch(an_item(attempt=-1)), "reports.items.0.attempt"),
        (a_batch(an_item(attempt=1.0)), "reports.items.0.attempt"),
        (a_batch(an_item(attempt=2**63)), "reports.items.0.attempt"),
        (a_batch(an_item(fence=None)), "reports.items.0.fence"),
        (a_batch(an_item(fence=2**31)), "reports.items.0.fence"),
        (a_batch(*[0] * (MAX_ITEMS + 1)), "reports.items"),
    ],
)
def test_a_malformed_batch_is_refused_as_a_whole_and_says_where(batch: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_batch(batch, last_seq=0, last_digest="")
    assert caught.value.field == field


def test_the_signature_is_of_the_agent_that_enrolled() -> None:
    batch = parse_batch(a_batch(an_item()), last_seq=0, last_digest="")
    assert batch is not None
    verify_batch(batch, public_key_of("ada"))
    with pytest.raises(Invalid, match="signature"):
        verify_batch(batch, public_key_of("eve"))


@pytest.mark.parametrize("signature", ["", "no base64 at all", base64.b64encode(b"short").decode(), "é" * 20])
def test_what_is_no_signature_is_refused_like_a_wrong_one(signature: str) -> None:
    batch = parse_batch(a_batch(an_item(), signature=signature), last_seq=0, last_digest="")
    assert batch is not None
    with pytest.raises(Invalid) as caught:
        verify_batch(batch, public_key_of("ada"))
    assert caught.value.code == "invalid_signature"


@pytest.mark.parametrize(
    ("wall_ms", "kept"),
    [(5, 5), (-5, 0), (10**18, 10**12), (2**63, 10**12), (1.5, 0), ("5", 0), (True, 0), (None, 0), ([], 0)],
)
def test_times_are_clamped_to_what_can_be(wall_ms: Any, kept: int) -> None:
    assert parsed(usage={"wall_ms": wall_ms}).wall_ms == kept


@pytest.mark.parametrize("usage", [None, [], "much", 7])
def test_a_claim_that_is_no_object_is_an_empty_one(usage: Any) -> None:
    assert parsed(usage=usage).usage_text == "{}"


def test_a_claim_is_kept_as_it_was_signed_unless_it_is_absurdly_long_or_cannot_be_stored() -> None:
    assert orjson.loads(parsed(usage={"core_ms": -1, "joules": 1e300}).usage_text or "") == {"core_ms": -1, "joules": 1e300}
    assert parsed(usage={"note": "x" * 5_000}).usage_text == "{}"
    assert parsed(usage={"note": "\0"}).usage_text == "{}"


@pytest.mark.parametrize("reason", [*REPORTABLE, "invalid_result", "platform_fault", "superseded", "", None, 7, ["x"]])
def test_an_agent_may_only_give_reasons_that_are_its_to_give(reason: Any) -> None:
    mine = isinstance(reason, str) and reason in REPORTABLE and reason != "user_cancel"
    assert parsed(outcome="failed", reason_class=reason).reason_class == (reason if mine else "node_fault")
    assert parsed(outcome="cancelled", reason_class=reason).reason_class == "user_cancel"
    assert parsed(outcome="done", reason_class=reason).reason_class == ""
    assert parsed(outcome="released", reason_class=reason).reason_class == ""


def test_texts_are_cut_to_their_columns_and_lose_what_cannot_be_stored() -> None:
    report = parsed(outcome="failed", code="c" * 99, detail="d\0" * 999, exit_code=2**31)
    assert (len(report.code), report.exit_code) == (30, None)
    assert len(report.detail) <= 500
    assert "\0" not in report.detail
    assert parsed(outcome="failed", exit_code=-11).exit_code == -11


def an_output(path: str = "frames/1.png", sha256: str = SHA) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "bytes": 9, "media_type": "image/png"}


def test_outputs_of_a_result_are_named_with_their_content() -> None:
    assert parsed(outputs=[an_output()]).outputs == (ReportedOutput("frames/1.png", SHA, "image/png"),)
    assert parsed(outcome="failed", outputs=[an_output()]).outputs == ()


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (an_output("../../etc/passwd"), "unsafe_path"),
        (an_output("/etc/passwd"), "unsafe_path"),
        (an_output("a\0b"), "unsafe_path"),
        (an_output("a" * 301), "unsafe_path"),
        (an_output(""), "unsafe_path"),
        ("a path", "unsafe_path"),
        (an_output(sha256="abc"), "invalid_sha256"),
        ({"path": "a"}, "invalid_sha256"),
    ],
)
def test_an_output_that_cannot_be_taken_spoils_its_own_attempt_only(output: Any, code: str) -> None:
    report = parsed(outputs=[an_output(), output])
    assert (report.outcome, report.reason_class, report.code, report.outputs) == ("failed", "invalid_result", code, ())
    assert parsed(outputs={"a": 1}).code == "invalid_outputs"


def test_a_result_needs_a_file_for_every_glob_that_is_required() -> None:
    promised = SpecOutputs.of([{"path": "frames/*.png"}, {"path": "notes.txt", "required": False}])
    assert judge(parsed(outputs=[an_output()]), promised, {SHA}).outcome == "done"
    refused = judge(parsed(outputs=[an_output("frames/1.jpg")]), promised, {SHA})
    assert (refused.outcome, refused.reason_class, refused.code) == ("failed", "invalid_result", "outputs_missing")
    assert judge(parsed(), promised, set()).code == "outputs_missing"
    assert judge(parsed(), SpecOutputs(), set()).outcome == "done"


def test_a_file_that_was_named_but_never_arrived_is_the_nodes_fault() -> None:
    refused = judge(parsed(outputs=[an_output()]), SpecOutputs(), set())
    assert (refused.outcome, refused.reason_class, refused.code) == ("failed", "node_fault", "upload_failed")
    assert refused.outputs == ()


def test_only_claims_of_success_are_judged() -> None:
    report = parsed(outcome="failed", reason_class="reclaimed")
    assert judge(report, SpecOutputs(("*.png",)), set()) == report


def test_of_two_reports_of_one_lease_the_first_counts() -> None:
    done, failed, older = parsed(), parsed(outcome="failed"), parsed(fence=0)
    assert first_of_each([done, failed, older, done]) == [done, older]
    assert first_of_each([failed, done]) == [failed]


def test_a_cancellation_that_nobody_asked_for_is_the_nodes_fault() -> None:
    report = unasked(parsed(outcome="cancelled"))
    assert (report.outcome, report.reason_class, report.code) == ("failed", "node_fault", "cancelled")


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("attempt", "fence", "outcome", "reason_class", "code", "detail", "exit_code", "usage", "outputs")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), anything | st.sampled_from(OUTCOMES)))
def test_whatever_json_an_agent_sends_is_a_report_or_a_clear_error(item: dict[str, Any]) -> None:
    try:
        item = orjson.loads(orjson.dumps(item))
    except (TypeError, orjson.JSONDecodeError):
        return  # it could not have been sent
    try:
        report = parse_report(item, "reports.items.0")
    except Invalid as error:
        if not (error.field or "").startswith("reports.items.0"):
            raise
        return
    assert report.outcome in OUTCOMES
    assert 0 <= report.wall_ms <= 10**12
    assert "\\u0000" not in (report.usage_text or "")

"""The disputes' commands: what they ask of the platform, what they show, and a file that is checked without it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gridfare.evidence import canonical
from tests.client.conftest import Run
from tests.client.platform import Platform

DISPUTE = {
    "id": 12, "state": "open", "reason": "wrong_result", "position": "", "outcome": "", "customer": "acme",
    "respondent": "bobs-pools",
    "charges": 1, "disputed": "2.000000", "awarded": "0.000000", "currency": "CNY", "answer_until": "2026-06-26T08:04:11Z",
}  # fmt: skip
MESSAGE = {"role": "customer", "text": "half of the frames are black", "at": "2026-06-12T08:04:11Z"}
CHARGE = {
    "charge": 3, "task": "0198", "attempt": None, "amount": "2.000000", "awarded": "0.000000", "refund": None, "credit_note": None,
    "period_charge": None, "meter": None, "period_refund": None,
}  # fmt: skip
MONTH = CHARGE | {"charge": None, "task": None, "period_charge": 71, "meter": "held_cores", "period_refund": 72}
MADE = {"disputes": [DISPUTE]}
BUNDLE = {"format": "gridfare-dispute-1", "dispute": DISPUTE | {"charges": 0, "disputed": "0"}, "messages": [], "charges": []}
ANSWERS = {
    "GET /disputes": {"results": [DISPUTE], "next": None},
    "GET /disputes/12": DISPUTE | {"messages": [MESSAGE]},
    "GET /disputes/12/charges": {"results": [CHARGE, MONTH], "next": None},
    "GET /disputes/12/bundle": {"bundle": BUNDLE, "digest": hashlib.sha256(canonical(BUNDLE)).hexdigest()},
    "POST /disputes": MADE,
    "POST /disputes/answer": MADE,
    "POST /disputes/withdraw": MADE,
    "POST /disputes/decide": MADE,
    "POST /disputes/12/messages": DISPUTE | {"messages": [MESSAGE, MESSAGE]},
}


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    platform.answers |= ANSWERS


def test_disputes_their_messages_and_charges_are_shown(run: Run) -> None:
    assert "bobs-pools" in run("dispute", "list").out
    assert "half of the frames" in run("dispute", "show", "12").out
    shown = run("dispute", "charges", "12").out
    assert "2.000000" in shown
    assert "72" in shown
    assert run("dispute", "list", "--json").json == [DISPUTE]


@pytest.mark.parametrize(
    "words",
    [
        ("open", "--reason", "wrong_result", "--text", "?", "--charge", "3", "--charge", "4"),
        ("open", "--reason", "other", "--text", "?", "--period-charge", "71"),
        ("open", "--reason", "other", "--text", "?", "--invoice", "7", "--line", "1"),
        ("answer", "12", "13", "--position", "accepts", "--text", "sorry"),
        ("withdraw", "12"),
        ("decide", "12", "--outcome", "partly", "--amount", "1.5", "--text", "half"),
    ],
)
def test_each_party_says_its_word(run: Run, words: tuple[str, ...]) -> None:
    assert "wrong_result" in run("dispute", *words).out


def test_what_is_disputed_is_named_in_one_way(run: Run) -> None:
    for words in ((), ("--charge", "3", "--invoice", "7", "--line", "1"), ("--invoice", "7")):
        assert run("dispute", "open", "--reason", "other", "--text", "?", *words).code == 2


def test_a_message_is_added(run: Run) -> None:
    assert "2 messages" in run("dispute", "say", "12", "--text", "well").out


def test_evidence_is_stored_and_checked_without_the_platform(run: Run, platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "dispute.json"
    assert str(file) in run("dispute", "bundle", "12", "--output", str(file)).out.replace("\n", "")
    before = len(platform.calls)
    assert "dispute 12 is open" in run("dispute", "verify", str(file)).out
    told = json.loads(file.read_text())
    told["bundle"]["dispute"]["state"] = "decided"
    file.write_text(json.dumps(told))
    refuted = run("dispute", "verify", str(file))
    assert (refuted.code, "refuted" in refuted.out) == (1, True)
    assert len(platform.calls) == before

"""What programs print: appended at its offset, bounded, and nobody else's to write."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Task
from scheduler.models import Attempt, LogChunk
from scheduler.services import logs
from scheduler.services.advancing import advance_task
from scheduler.services.logs import MAX_CHUNKS, SLACK_BYTES, LogPiece, read_logs, store_logs
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version

pytestmark = pytest.mark.django_db
LIMIT = 1024 + SLACK_BYTES


def at_work(units: int = 1) -> FakeAgent:
    agent = FakeAgent.of(a_pool())
    a_task(version=a_version(limits={"log_kib": 1}), inputs={"count": units})
    run_round()
    agent.beat(want=units)
    return agent


def a_piece(agent: FakeAgent, data: bytes, offset: int = 0, **fields: Any) -> LogPiece:
    attempt = fields.pop("attempt", None) or min(agent.held)
    return LogPiece(attempt, fields.pop("fence", 1), fields.pop("stream", "stdout"), offset, data)


def stored(attempt: int, stream: str = "stdout") -> bytes:
    chunks = LogChunk.objects.filter(attempt=attempt, stream=stream).order_by("offset")
    return b"".join(bytes(chunk.data) for chunk in chunks)


def test_pieces_are_appended_where_the_stream_ends() -> None:
    agent = at_work()
    attempt = min(agent.held)
    assert store_logs(agent.agent, [a_piece(agent, b"one "), a_piece(agent, b"two ", 4)]) == [[attempt, "stdout", 8]]
    assert store_logs(agent.agent, [a_piece(agent, b"three", 8)]) == [[attempt, "stdout", 13]]
    assert stored(attempt) == b"one two three"


def test_a_piece_that_was_sent_before_or_leaves_a_gap_is_told_where_to_go_on() -> None:
    agent = at_work()
    attempt = min(agent.held)
    store_logs(agent.agent, [a_piece(agent, b"abcdef")])
    for offset, data in ((0, b"abcdef"), (3, b"defghi"), (7, b"later")):
        assert store_logs(agent.agent, [a_piece(agent, data, offset)]) == [[attempt, "stdout", 6]]
    assert stored(attempt) == b"abcdef"


def test_streams_and_attempts_are_apart() -> None:
    agent = at_work(2)
    one, two = sorted(agent.held)
    pieces = [a_piece(agent, b"x", attempt=a, stream=s) for a in (one, two) for s in ("stdout", "stderr", "agent")]
    answer = store_logs(agent.agent, pieces)
    assert answer == [[a, s, 1] for a in (one, two) for s in ("agent", "stderr", "stdout")]
    assert LogChunk.objects.count() == 6


def test_nobody_writes_into_the_attempt_of_another_or_with_an_older_fence() -> None:
    agent, other = at_work(), FakeAgent.of(a_pool())
    attempt = min(agent.held)
    assert store_logs(other.agent, [a_piece(agent, b"mine")]) == []
    assert store_logs(agent.agent, [a_piece(agent, b"old", fence=0), a_piece(agent, b"new", fence=2)]) == []
    assert store_logs(agent.agent, [a_piece(agent, b"?", attempt=999_999)]) == []
    assert stored(attempt) == b""


def test_the_last_lines_may_follow_the_report_but_not_much_later() -> None:
    agent = at_work()
    piece = a_piece(agent, b"bye")
    agent.done()
    assert store_logs(agent.agent, [piece]) == [[piece.attempt, "stdout", 3]]
    Attempt.objects.update(ended_at=timezone.now() - timedelta(minutes=11))
    assert store_logs(agent.agent, [a_piece(agent, b"again", 3, attempt=piece.attempt)]) == []


def test_beyond_its_quota_a_stream_is_taken_and_dropped_so_that_the_agent_can_go_on() -> None:
    agent = at_work()
    attempt, step, offset = min(agent.held), 30_000, 0
    for _ in range(10):
        ((_, _, offset),) = store_logs(agent.agent, [a_piece(agent, b"x" * step, offset)])
    assert offset == 300_000
    assert len(stored(attempt)) == 60_000 <= LIMIT
    ((_, _, err),) = store_logs(agent.agent, [a_piece(agent, b"fine", stream="stderr")])
    assert err == 4


def test_a_merge_has_the_quota_of_a_merge() -> None:
    agent = FakeAgent.of(a_pool())
    merge = {"run": ["merge"], "outputs": [], "limits": {"log_kib": 1}}
    task = a_task(version=a_version(limits={"log_kib": 500}, merge=merge))
    run_round()
    agent.beat(want=1)
    store_logs(agent.agent, [a_piece(agent, b"x" * 100_000)])
    assert LogChunk.objects.count() == 1
    agent.done()
    advance_task(task.pk)
    run_round()
    agent.beat(want=1)
    store_logs(agent.agent, [a_piece(agent, b"x" * 100_000)])
    assert LogChunk.objects.count() == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=12))
def test_whatever_is_sent_in_whatever_order_what_is_stored_is_the_beginning_of_the_stream(
    sent: list[tuple[int, int]],
) -> None:
    text = bytes(range(65, 65 + 60))
    agent = at_work()
    attempt = min(agent.held)
    for offset, length in sent:
        ((_, _, end),) = store_logs(agent.agent, [a_piece(agent, text[offset : offset + length], offset)])
        assert stored(attempt) == text[:end]
    store_logs(agent.agent, [a_piece(agent, text[len(stored(attempt)) :], len(stored(attempt)))])
    assert stored(attempt) == text


def test_who_reads_gets_pieces_in_the_order_they_came_and_where_to_go_on() -> None:
    agent = at_work(2)
    one, two = sorted(agent.held)
    store_logs(agent.agent, [a_piece(agent, b"first", attempt=two)])
    store_logs(agent.agent, [a_piece(agent, "第二".encode(), attempt=one, stream="stderr")])
    task = Task.objects.get()

    page = read_logs(task.pk, after=0, limit=1)
    rest = read_logs(task.pk, after=page["next"], limit=9)

    assert [(c["attempt"], c["unit"], c["stage"], c["text"]) for c in page["chunks"]] == [(two, 1, "unit", "first")]
    assert [(c["attempt"], c["stream"], c["text"]) for c in rest["chunks"]] == [(one, "stderr", "第二")]
    assert read_logs(task.pk, after=rest["next"], limit=9) == {"next": rest["next"], "chunks": []}
    assert len(read_logs(task.pk, after=0, limit=9, stream="stderr")["chunks"]) == 1
    assert len(read_logs(task.pk, after=0, limit=9, unit=1)["chunks"]) == 1
    assert len(read_logs(task.pk, after=0, limit=9, attempt=one, stage=1)["chunks"]) == 0


def test_bytes_that_are_no_text_are_shown_as_far_as_they_go() -> None:
    agent = at_work()
    store_logs(agent.agent, [a_piece(agent, b"ok \xff\x00 ok")])
    (chunk,) = read_logs(Task.objects.get().pk, after=0, limit=9)["chunks"]
    assert chunk["text"] == "ok \ufffd\x00 ok"


def test_many_pieces_are_as_many_statements_as_one(django_assert_num_queries: Any) -> None:
    agent = at_work(8)
    for data in (b"x", b"y" * 7):
        pieces = [a_piece(agent, data, stored_end, attempt=a) for a in agent.held for stored_end in [len(stored(a))]]
        with django_assert_num_queries(5):  # savepoint, ends, insert, notify, release
            store_logs(agent.agent, pieces)


GOOD = {"attempt": 1, "fence": 1, "stream": "stdout", "offset": 0, "data": base64.b64encode(b"hello").decode()}


def test_pieces_are_read_from_the_doors_body() -> None:
    assert LogPiece.parse_all([GOOD]) == [LogPiece(1, 1, "stdout", 0, b"hello")]
    assert LogPiece.parse_all([]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": None}, {"attempt": -1}, {"attempt": 2**63}, {"attempt": 1e400}, {"attempt": "x"}, {"fence": []},
        {"offset": -1}, {"offset": {}}, {"stream": "stdin"}, {"stream": ["stdout"]}, {"stream": None},
        {"data": "no base64!"}, {"data": 7}, {"data": None}, {"data": "é"},
    ],
)  # fmt: skip
def test_a_piece_that_makes_no_sense_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        LogPiece.parse_all([GOOD, GOOD | change])
    assert caught.value.field == "chunks.1"


@pytest.mark.parametrize("chunks", [None, {}, "x", [GOOD] * (MAX_CHUNKS + 1)])
def test_too_many_or_no_list_is_refused(chunks: Any) -> None:
    with pytest.raises(Invalid) as caught:
        LogPiece.parse_all(chunks)
    assert caught.value.field == "chunks"
    assert LogPiece.parse_all([GOOD] * MAX_CHUNKS)


def test_the_streams_are_those_of_the_protocol() -> None:
    assert logs.STREAMS == ("stdout", "stderr", "agent")
    with pytest.raises(Invalid):
        LogPiece.parse_all(["text"])

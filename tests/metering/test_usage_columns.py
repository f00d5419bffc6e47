"""Events of a batch, read as columns, say what each says that is read alone: whatever is sent, in whatever spelling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.events.binary import binary_of_amount
from metering.events.columns import _stamps, columns_of
from metering.events.parsing import lines, several
from metering.events.reading import Event, Refused, is_uuid7, key_of, read
from tests.builders_usage import an_event

ODD: Any = st.sampled_from(
    [None, 1, True, 1.5, "", "a", "A b", "x" * 201, "a\x00", [], {}, {"a": "b"}, {"a": None}, {"a": 1}, ["a"], "1.0", "-1",
     "007.500", "0.0", "1e3", "½", "\U0001f600", "019a0000-0000-7000-8000-000000000001"]
)  # fmt: skip
DATES = st.sampled_from(["2026-01-01", "2026-02-30", "2024-02-29", "2026-W01-1", "20260101", "1969-12-31", "0001-01-01"])
CLOCKS = st.sampled_from(["00:00:00", "23:59:59", "23:59:60", "24:00:00", "000000.0", "12:00", "1\uff12:00:00"])
FRACTIONS = st.sampled_from(["", ".0", ".5", ".500", ".123456", ".1234567", ".0000001", ".000000", ".", ",5"])
ZONES = st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+14:00", "-05:30", "+00:00:30", "+24:00", "\n", "Z\n"])
MOMENTS = st.tuples(DATES, st.sampled_from("Tt \n_"), CLOCKS, FRACTIONS, ZONES).map("".join)
PLACES = st.sampled_from([UTC, *map(ZoneInfo, ("Asia/Shanghai", "America/New_York")), timezone(timedelta(0, 30))])


def assert_read_alike(batch: Sequence[Any]) -> None:
    """Columns say what each event says that is read alone: the same keys, digests, texts, and the same refusals."""
    one_by_one = {place: one if isinstance(one, Refused) else read(one) for place, one in enumerate(batch)}
    events = {place: event for place, event in one_by_one.items() if isinstance(event, Event)}
    columns = columns_of(7, batch)
    columns.digest(range(len(events)))
    assert columns.refused == {place: refused for place, refused in one_by_one.items() if isinstance(refused, Refused)}
    assert columns.places == list(events)
    rows = zip(columns.whose, columns.ids, columns.moments, columns.ats, columns.labels, strict=True)
    said = [(of.series, name, moment, at, labels.text) for of, name, moment, at, labels in rows]
    assert said == [(one.series, one.id, one.time, one.at, one.labels) for one in events.values()]
    assert [much.binary for much in columns.amounts] == [binary_of_amount(one.amount) for one in events.values()]
    assert [key.hex() for key in columns.keys] == [key_of(7, one.series.source, one.id) for one in events.values()]
    assert [columns.digests[n].hex() for n in range(len(events))] == [one.digest() for one in events.values()]
    assert columns.readings == any(one.amount.value is not None for one in events.values())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_batch_is_read_as_its_events_are_one_by_one(data: st.DataObject) -> None:
    batch: list[Any] = [data.draw(ODD)] if data.draw(st.booleans()) else []
    for _ in range(data.draw(st.integers(1, 4))):
        event = an_event(time=data.draw(MOMENTS | st.datetimes(timezones=PLACES).map(datetime.isoformat)))
        event |= data.draw(st.dictionaries(st.sampled_from([*event, "traceparent"]), ODD, max_size=1))
        if isinstance(event["data"], dict):
            members = ["pool", "quantity", "unit", "labels", "value", "boot_id", "seq", "gauge", "more"]
            event["data"] = event["data"] | data.draw(st.dictionaries(st.sampled_from(members), ODD, max_size=2))
        batch.append(event)
    batch *= data.draw(st.sampled_from([1, 1, 20]))  # more than a few are read in halves
    assert_read_alike(batch)
    assert_read_alike(several(orjson.dumps(batch)))


MEMBERS = {
    "specversion": ['"1.0"', "1.0", '"\\u0031.0"'],
    "id": [
        '"a"', '"	"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\u0000"', '"\\u0061"', "1e400", "-0",
        '"019a0000-0000-7000-8000-000000000001"',
    ],
    "source": ['"/s"', '"/s", "source": "/t"', '"/s", "more": 1e400', '"/s", "more": NaN', f'"/s", "more": {"9" * 40}'],
    "type": ['"m"', "null", '"held_cores"', '"m", "datacontenttype": "a"', '"m", "traceparent": 1', '"m", "tracestate": "\xff"'],
    "subject": ['"acme"', '"\xff"'],
    "time": [
        '"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00.5+01:00"', '"2016-12-31T23:59:60Z"', '"2026-01-01T00:00:00.500000+00:00"',
    ],
    "data": [
        '{"pool": "P", "unit": "u", "quantity": "1.50"}', '{"pool": "P", "unit": "u", "quantity": "1", "quantity": "2"}',
        '{"pool": "P", "unit": "u", "quantity": 1.5}', '{"pool": "P", "unit": "u", "quantity": "-0"}',
        '{"pool": "P", "unit": "u", "quantity": "1", "labels": {"b": "1", "a": "2", "b": "3"}}',
        '{"pool": "P", "unit": "u", "quantity": "1", "labels": {"a": "\\u0000"}}',
        '{"pool": "P", "unit": "u", "quantity": "1", "labels": {"a": "\\ud83d"}}',
        '{"pool": "P", "unit": "u", "quantity": "1", "labels": null}',
        '{"pool": "P", "unit": "u", "quantity": "1", "labels": {"a": "1"}, "labels": {}}',
        f'{{"pool": "P", "unit": "u", "quantity": "1", "labels": {"[" * 1100}{"]" * 1100}}}',
        '{"pool": "P", "unit": "u", "value": "1", "boot_id": "b", "seq": 18446744073709551616}', '[["quantity"]]', '"quantity"',
    ],
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_lines_of_any_spelling_are_read_as_one_by_one(data: st.DataObject) -> None:
    """Names that stand twice, escapes, exponents, huge numbers, NUL, lone surrogates, bytes that are no UTF-8."""
    texts = []
    for _ in range(data.draw(st.integers(1, 3))):
        said = [f'"{name}": {data.draw(st.sampled_from(choices))}' for name, choices in MEMBERS.items()]
        text = f"{{{', '.join(data.draw(st.permutations(said)))}}}"
        texts.append(text.encode("latin-1") + data.draw(st.sampled_from([b"", b"\r", b"}"])))
    batch = lines(b"\n".join(texts))
    assert len(batch) == len(texts)
    assert list(batch) == list(batch[:])
    assert_read_alike(batch)


def test_keys_and_digests_are_the_ones_that_are_stored() -> None:
    """Events of years are compared by these: other digests would make conflicts of what was sent again."""
    name, labels = "019a0000-0000-7000-8000-000000000001", {"b": "1", "a": "½"}
    usual = an_event("P", id=name, time="2026-01-01T01:00:00.5+01:00", quantity="1.50", labels=labels)
    sample = an_event("P", id="a", time="2026-01-01T00:00:00Z", gauge="2")
    columns = columns_of(7, [usual, sample])
    columns.digest([0, 1])
    assert [key.hex() for key in columns.keys] == ["019a000000009e6db6bcdc750b35a1e2", "25cb2707dded2b6b6a8c797be6b3985c"]
    assert [columns.digests[n].hex() for n in (0, 1)] == ["5cdc7dffd522dfb5409723c1272b43f0", "001821776d1380484914418e29490f46"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_ids_have_a_time_in_their_keys_where_all_are_uuid7_and_only_there(data: st.DataObject) -> None:
    good = ["019a0000-0000-7000-8000-000000000001", "019a0000-0000-7fff-bfff-ffffffffffff"]
    place = data.draw(st.integers(0, 35))
    odd = good[0][:place] + data.draw(st.sampled_from("0aAg-\n 7½")) + good[0][place + data.draw(st.integers(0, 1)) :]
    ids = [good[0], odd, good[1]]
    assert bool(_stamps(ids)) == all(map(is_uuid7, ids))

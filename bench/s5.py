"""S5: usage events with repetitions and contradictions, beside COPY of the same rows into an unlogged table.

    python -m bench s5 [EVENTS ...]          default 10000 100000 1000000

Of the events sent, 10 % were sent before and 1 % use the name of one that was sent with another quantity. They come as the
bodies of requests, 10,000 CloudEvents a line each: parsed, checked, compared, stored, answered. The reference takes the rows of
the same batches, ready as text, and copies them into an unlogged table without an index, in the same run. While events
come, a reader counts and adds up every half second: what it sees must be what some whole batches make, never anything else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from bench.charge import processor_seconds, run, scratch_database
from bench.figures import save, say, versus

BATCH, BAR = 10_000, 0.25
METERS, CUSTOMERS = 5, 20


def main(sizes: list[int]) -> None:
    import django

    django.setup()
    figures = []
    for size in sizes or [10_000, 100_000, 1_000_000]:
        with scratch_database():
            figures.append(figures_of(size))
    save("s5", figures)


def figures_of(size: int) -> dict[str, Any]:
    """Rates of taking and of copying `size` events, and where the time went."""
    from metering.events.parsing import lines
    from metering.events.storing import take

    provider, pools, customers = parties()
    bodies, expected = list(bodies_of(size, pools, customers)), states_of(size)
    say(f"{size:,} events in {len(bodies)} requests, {sum(map(len, bodies)) / 1e6:,.0f} MB")
    copied, copied_cpu = copy_of(provider, bodies)
    before, cpu = time.process_time(), processor_seconds()
    began = time.perf_counter()
    with reader(expected) as wrong:
        counts = [take(provider, lines(body)).counts for body in bodies]
    taken_s = time.perf_counter() - began
    total = {name: sum(one[name] for one in counts) for name in counts[0]}
    mistakes = wrong() + mistakes_in(total, expected)
    say(f"  {total}; wrong counts {mistakes}")
    parts = {"ours_cpu_s": time.process_time() - before, "postgresql_cpu_s": processor_seconds() - cpu}
    say(f"  processor: this program {parts['ours_cpu_s']:.1f} s, PostgreSQL {parts['postgresql_cpu_s']:.1f} s of {taken_s:.1f} s")
    ratio = versus("taken", size / taken_s, "copied", size / copied, BAR)
    versus("of processor time: taken", size / sum(parts.values()), "copied", size / copied_cpu)
    parts["copied_cpu_s"] = copied_cpu
    return {"events": size, "taken_s": taken_s, "copied_s": copied, "ratio": ratio, "wrong": mistakes, "counts": total} | parts


def parties() -> tuple[Any, list[str], list[str]]:
    from tests.builders_billing import make_organization, make_pool

    provider = make_organization("bob", is_provider=True)
    pools = [make_pool(provider).identifier for _ in range(4)]
    return provider, pools, [make_organization(f"customer{n}").slug for n in range(CUSTOMERS)]


def kind_of(number: int) -> str:
    """Of a hundred events ten are repetitions of earlier ones and one contradicts an earlier one."""
    return "new" if number < 100 or number % 100 < 89 else "conflict" if number % 100 == 99 else "replay"


def bodies_of(size: int, pools: list[str], customers: list[str]) -> Iterator[bytes]:
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    for start in range(0, size, BATCH):
        yield b"\n".join(orjson.dumps(event_of(n, begins, pools, customers)) for n in range(start, min(start + BATCH, size)))


def event_of(number: int, begins: datetime, pools: list[str], customers: list[str]) -> dict[str, Any]:
    kind = kind_of(number)
    first = number if kind == "new" else (number * 7919) % number // 100 * 100  # an earlier one that was new
    moment = begins + timedelta(milliseconds=first * 100)
    name = UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | first)
    data = {
        "pool": pools[first % len(pools)],
        "quantity": f"{first % 1000}.{'25' if kind != 'conflict' else '75'}",
        "unit": "second",
        "labels": {"project": f"project-{first % 50}"},
    }
    envelope = {"specversion": "1.0", "id": str(name), "source": "/slurm/west", "type": f"meter_{first % METERS}"}
    return envelope | {"time": moment.isoformat(), "subject": customers[first % CUSTOMERS], "data": data}


def states_of(size: int) -> dict[int, int]:
    """Events that are stored after each whole batch, and their sum: exact, in hundredths."""
    states, count, hundredths = {0: 0}, 0, 0
    for number in range(size):
        if kind_of(number) == "new":
            count, hundredths = count + 1, hundredths + number % 1000 * 100 + 25
        if (number + 1) % BATCH == 0 or number + 1 == size:
            states[count] = hundredths
    return states


class reader:  # noqa: N801  used as `with reader(...)`
    """Another session that counts while events come."""

    def __init__(self, expected: dict[int, int]) -> None:
        self.expected, self.seen, self.wrong = expected, 0, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            while not self.done.wait(0.5):
                cursor.execute("SELECT count(*), coalesce(sum(quantity) * 100, 0)::bigint FROM metering_usageevent")
                count, hundredths = cursor.fetchone()
                self.seen, self.wrong = self.seen + 1, self.wrong + (self.expected.get(count) != hundredths)
        connection.close()

    def __enter__(self) -> Callable[[], int]:
        self.thread.start()
        return lambda: self.wrong

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        say(f"  a reader looked {self.seen} times")


def mistakes_in(total: dict[str, int], expected: dict[int, int]) -> int:
    """Counts of the answers and of the table that are not what was sent."""
    from metering.models import UsageEvent

    return int(total["accepted"] != max(expected)) + int(UsageEvent.objects.count() != max(expected)) + total["invalid"]


def copy_of(provider: Any, bodies: list[bytes]) -> tuple[float, float]:
    """Seconds, and processor seconds of both sides, of COPY of the same rows, ready as text, a batch a transaction."""
    from django.db import connection

    texts = [text_of(provider, body) for body in bodies]
    run(
        "CREATE UNLOGGED TABLE plain (key uuid, digest uuid, series_id bigint, external_id text, occurred_at timestamptz,"
        " quantity numeric, labels jsonb, value numeric, boot_id text, seq bigint, gauge numeric, old boolean)"
    )
    before, began = time.process_time() + processor_seconds(), time.perf_counter()
    for text in texts:
        with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN") as copy:
            copy.write(text)
    seconds, cpu = time.perf_counter() - began, time.process_time() + processor_seconds() - before
    run("DROP TABLE plain")
    return seconds, cpu


def text_of(provider: Any, body: bytes) -> str:
    from metering.events.parsing import lines
    from metering.events.reading import Event, key_of, read
    from metering.events.sorting import Row
    from metering.events.writing import text_of as rows_as_text

    events = [event for event in map(read, lines(body)) if isinstance(event, Event)]
    rows = [Row(key_of(provider.pk, event.series.source, event.id), event.digest(), event, old=False) for event in events]
    return rows_as_text(rows, {event.series: 1 for event in events})

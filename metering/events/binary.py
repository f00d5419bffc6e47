"""Events as PostgreSQL's COPY reads them in binary: nothing to be parsed, so it takes half the time of text. Pure.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a header, of each row how many values it has and each value
behind its length in bytes, -1 for null, and a trailer; numbers with the highest byte first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct, pack
from typing import Final

from psycopg import adapters
from psycopg.adapt import PyFormat

from metering.events.reading import Amount

# In this order a row is what differs from event to event, and then what many have in common.
COLUMNS: Final = (
    "key", "digest", "occurred_at", "external_id", "quantity", "value", "boot_id", "seq", "gauge", "labels",
    "series_id", "batch_id", "accepted_at",
)  # fmt: skip
VALUES: Final = len(COLUMNS)
# VALUES, key, digest, microseconds, each behind its length, and the length of the id, which follows.
start_of_row: Final = Struct(">hi16si16siqi").pack
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + pack(">ii", 0, 0)
TRAILER: Final = pack(">h", -1)
_NULL: Final = pack(">i", -1)
_NOT_A_METER: Final = _NULL * 4
_BEGINS: Final = datetime(2000, 1, 1, tzinfo=UTC)
_decimal: Final = adapters.get_dumper(Decimal, PyFormat.BINARY)(Decimal).dump


def binary_of_batch(series: int, batch: int, accepted: datetime) -> bytes:
    """What ends a row."""
    return pack(">iqiqiq", 8, series, 8, batch, 8, micros_of(accepted))


def micros_of(moment: datetime) -> int:
    """Microseconds since 2000, as PostgreSQL counts."""
    since = moment - _BEGINS
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def binary_of_amount(amount: Amount) -> bytes:
    """Quantity, value, boot_id, seq and gauge."""
    quantity, value, boot_id, seq, gauge = amount
    if quantity is not None:
        return _number(quantity) + _NOT_A_METER
    boot = _NULL if boot_id is None else _sized(boot_id.encode())
    return b"".join([_NULL, _number(value), boot, _NULL if seq is None else pack(">iq", 8, seq), _number(gauge)])


def binary_of_labels(labels: str | None) -> bytes:
    return _NULL if labels is None else _sized(b"\x01" + labels.encode())  # 1 is the version of jsonb's format


def _number(text: str | None) -> bytes:
    return _NULL if text is None else _sized(bytes(_decimal(Decimal(text)) or b""))


def _sized(value: bytes) -> bytes:
    return pack(">i", len(value)) + value

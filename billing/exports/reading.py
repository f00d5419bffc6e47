"""Files of rows as cells of text, row by row: CSV as it stands, Parquet as the same export's CSV would print it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing.exports.columns import BY_NAME, Column
from billing.exports.writers import cell

Opened = tuple[list[str], Iterator[dict[str, str]]]


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """The header and the rows of a file. Raises OSError or ValueError for what is no CSV and no Parquet."""
    with file.open("rb") as raw:
        is_parquet = raw.read(4) == b"PAR1"
    if is_parquet:
        yield _parquet(file)
        return
    with file.open(encoding="utf-8", newline="") as text:
        lines = csv.DictReader(text, restval="")
        yield list(lines.fieldnames or ()), ({name: row[name] for name in row if name is not None} for row in lines)


def _parquet(file: Path) -> Opened:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    names = list(table.schema_arrow.names)
    columns = {name: BY_NAME.get(name, Column(name, "text", "ours")) for name in names}
    rows = (row for batch in table.iter_batches(2000) for row in batch.to_pylist())
    return names, ({name: cell(columns[name], row[name]) for name in names} for row in rows)

"""Usage records as computing centres account for them: APEL's messages for jobs and for accelerators. Pure.

    jobs          text: `APEL-individual-job-message: v0.3`, then `Key: value` lines, records parted by `%%`
    accelerators  JSON: {"Type": "APEL-accelerator-message", "Version": "0.1", "UsageRecords": [...]}

A file is a tar archive of messages, each of at most 1,000 records, as APEL's sender takes them, a message a file. Its bytes
depend on nothing but the records. Source: APEL's message formats and its reader, https://github.com/apel/apel.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import IO, Any, Final, cast

from billing.exports.columns import Column
from core.errors import Invalid

MOST: Final = 1000
HEADER: Final = "APEL-individual-job-message: v0.3"
JOB_FIELDS: Final = (
    "Site", "SubmitHost", "MachineName", "Queue", "LocalJobId", "LocalUserId", "GlobalUserName", "FQAN", "VO", "VOGroup", "VORole",
    "WallDuration", "CpuDuration", "Processors", "NodeCount", "StartTime", "EndTime", "InfrastructureDescription",
    "InfrastructureType", "MemoryReal", "MemoryVirtual", "ServiceLevelType", "ServiceLevel",
)  # fmt: skip
JOB_NEEDS: Final = ("Site", "LocalJobId", "WallDuration", "CpuDuration", "StartTime", "EndTime")
ACCELERATOR_FIELDS: Final = (
    "MeasurementMonth", "MeasurementYear", "AssociatedRecordType", "AssociatedRecord", "GlobalUserName", "FQAN", "SiteName",
    "Count", "Cores", "ActiveDuration", "AvailableDuration", "BenchmarkType", "Benchmark", "Type", "Model",
)  # fmt: skip
ACCELERATOR_NEEDS: Final = (
    "MeasurementMonth", "MeasurementYear", "AssociatedRecordType", "AssociatedRecord", "FQAN", "SiteName", "Count",
    "AvailableDuration", "Type",
)  # fmt: skip
SERVICE_LEVELS: Final = frozenset({"si2k", "hepspec", "hepscore23"})
_NOTHING: Final = frozenset({"", "none", "null"})
Record = Mapping[str, Any]


def clean(record: Record, fields: Sequence[str], needs: Sequence[str]) -> dict[str, Any]:
    """A record's fields in their order, without those that say nothing. Raises Invalid `apel_record` for one that APEL refuses."""
    found = {name: record[name] for name in fields if not _says_nothing(record.get(name))}
    if missing := [name for name in needs if name not in found]:
        raise Invalid("apel_record", f"a record has no {', '.join(missing)}")
    for name, value in found.items():
        if (isinstance(value, int) and value < 0) or (isinstance(value, str) and not value.isprintable()):
            raise Invalid("apel_record", f"{name} may not be {value!r}")
    if ("ServiceLevelType" in found) != ("ServiceLevel" in found):
        raise Invalid("apel_record", "ServiceLevelType and ServiceLevel go together")
    if found.get("ServiceLevelType", "si2k") not in SERVICE_LEVELS:
        raise Invalid("apel_record", f"ServiceLevelType is one of {', '.join(sorted(SERVICE_LEVELS))}")
    if found.get("StartTime", 0) > found.get("EndTime", 0):
        raise Invalid("apel_record", "EndTime is before StartTime")
    return found


def _says_nothing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in _NOTHING


def job_message(records: Iterable[Record]) -> bytes:
    """A message of jobs.

    >>> print(job_message([dict.fromkeys(JOB_NEEDS, 1)]).decode())
    APEL-individual-job-message: v0.3
    Site: 1
    LocalJobId: 1
    WallDuration: 1
    CpuDuration: 1
    StartTime: 1
    EndTime: 1
    %%
    <BLANKLINE>
    """
    lines = [HEADER]
    for record in records:
        lines += [f"{name}: {value}" for name, value in clean(record, JOB_FIELDS, JOB_NEEDS).items()] + ["%%"]
    return ("\n".join(lines) + "\n").encode()


def accelerator_message(records: Iterable[Record]) -> bytes:
    """A message of accelerators."""
    cleaned = [clean(record, ACCELERATOR_FIELDS, ACCELERATOR_NEEDS) for record in records]
    document = {"Type": "APEL-accelerator-message", "Version": "0.1", "UsageRecords": cleaned}
    return json.dumps(document, ensure_ascii=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == int(value) else float(value)


def write_messages(
    message: Callable[[Iterable[Record]], bytes], suffix: str, records: Iterable[Record], out: io.RawIOBase
) -> int:
    """A tar archive of messages into a file. Returns how many records there are."""
    count = 0
    with tarfile.open(fileobj=cast("IO[bytes]", out), mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for number, portion in enumerate(_portions(records), 1):
            data = message(portion)
            entry = tarfile.TarInfo(f"{number:08d}.{suffix}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
            count += len(portion)
    return count


def _portions(records: Iterable[Record]) -> Iterator[list[Record]]:
    flow = iter(records)
    while portion := list(islice(flow, MOST)):
        yield portion


def jobs(columns: Sequence[Column], rows: Iterable[dict[str, Any]], out: io.RawIOBase, schema: str) -> int:
    """A writer, as in `writers.FORMATS`: rows have the names of JOB_FIELDS."""
    return write_messages(job_message, "apel", rows, out)


def accelerators(columns: Sequence[Column], rows: Iterable[dict[str, Any]], out: io.RawIOBase, schema: str) -> int:
    """A writer, as in `writers.FORMATS`: rows have the names of ACCELERATOR_FIELDS."""
    return write_messages(accelerator_message, "json", rows, out)

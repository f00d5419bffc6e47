"""The columns of exports as data, a version per kind: names and meanings never change within one, a new column makes a new one.

docs/billing/exports.md shows the same, and tests compare them with this file and with what they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billing.exports.columns import COLUMNS, Column


@dataclass(frozen=True, slots=True)
class Told:
    """A column and what it means. kind: text | integer | number | moment | json; a number has at most twelve places."""

    column: Column
    means: str


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a kind of export, in their order."""

    kind: str
    version: str
    told: tuple[Told, ...]

    @property
    def name(self) -> str:
        """`usage/1`, as answers, headers and files name it."""
        return f"{self.kind}/{self.version}"

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(one.column for one in self.told)


def _table(kind: str, version: str, text: str) -> Table:
    """A line per column: its name, its kind (with `!` where there is always a value), what it means."""
    lines = (line.split(None, 2) for line in text.strip().splitlines())
    told = (Told(Column(name, of.rstrip("!"), "ours", not of.endswith("!")), means) for name, of, means in lines)
    return Table(kind, version, tuple(told))


USAGE: Final = _table("usage", "1", """
fact                  text!    `record`: what an attempt took; `event`, `sample` (of a gauge): what a pool reported by itself
id                    text!    the record's number, the event's key
organization          text!    who used it
provider              text!    whose pool it was
pool                  text!    the pool's identifier
region                text!    where the pool is
capability            text     publisher/name@version
task                  text     the task
attempt               integer  the attempt
revision              integer  0, or the number of the correction: an event is as it was corrected last
corrects              text     the record that this one puts right
stage                 integer  of the task
api_key               text     the prefix of the key that submitted the task; not shown to providers
outcome               text     the attempt's final state
reason_class          text     why it ended so
started_at            moment!  the lease's beginning; of an event, when it happened
ended_at              moment!  the lease's end, by which the window is taken; of an event, when it happened
wall_seconds          number   time between them that the program ran
core_seconds          number   CPU time
held_core_seconds     number   wall time times cores held
cores                 integer  held
accelerators          integer  held
memory_mib_seconds    number   memory times time
accelerator_seconds   number   wall time times accelerators held
fp32_tflop            number   normalised work (标准算力)
gb_in                 number   10^9 bytes that came in
gb_out                number   10^9 bytes that went out
joules                integer  where the machine measures them
flags                 text     what was clamped, with spaces between
meter                 text     of an event
unit                  text     of an event
quantity              number   of an event (a counter's is the difference to the reading before it); what a sample says
source                text     of an event, as CloudEvents name it
external_id           text     of an event, as its source numbers it
labels                json     the task's or the event's; the task's are not shown to providers
recorded_at           moment!  when the platform took it down
""")  # fmt: skip

CHARGES: Final = _table("charges", "1", """
kind                  text!    `usage`, `fee`, `delta` (a correction's difference), `refund`, `sla` of a task; `period`: of a month
charge                integer! its number; tasks' and months' charges are numbered apart
organization          text!    whose use it was
organization_name     text!    its name
provider              text     who provided the machines
provider_name         text     its name
publisher             text     who published the capability
publisher_name        text     its name
payer                 text!    `user`, `platform` or `nobody`
reason                text!    the row of the table of reasons that decided, docs/billing.md
task                  text     the task
attempt               integer  the attempt
usage                 integer  the usage record
capability            text     publisher/name@version
pool                  text     the pool's identifier
region                text     where the pool is
meter                 text     of a month's charge
service_from          moment!  when the service was; the same twice for a fee
service_to            moment!  its end
charged_at            moment!  when it was charged, by which the window is taken
currency              text!    ISO 4217
amount                number!  of the charge; negative for what a correction takes back
provider_share        number!  what the provider gets of it
publisher_share       number!  what the publisher gets of it
platform_share        number!  what is the platform's
lines                 json!    [{meter, quantity, unit_price, amount}], decimal text; of a month `kind` for `meter`
invoice               text     the number of the invoice that it stands on, once that is final
invoice_line          integer  its line there
entry                 text     the key of the journal's entry
""")  # fmt: skip

STATEMENTS: Final = _table("statements", "1", """
party                 text!    `user`, `provider` or `publisher`
organization          text!    whose statement it is
currency              text!    ISO 4217
task                  text     if grouped by task
capability            text     if grouped by task or capability; publisher/name@version
pool                  text     if grouped by task, pool or month
day                   text     if grouped by day; YYYY-MM-DD, UTC
month                 text     if grouped by month; YYYY-MM in the organization's zone
customer              text     if grouped by month: who used it
kind                  text     `usage`, `fee`, `delta`, `refund`, `sla` or `period`; not if grouped by month
units                 integer! valid units
attempts              integer! attempts
core_seconds          number!  CPU time
held_core_seconds     number!  wall time times cores held
accelerator_seconds   number!  wall time times accelerators held
fp32_tflop            number!  normalised work (标准算力)
fp32_tflops_hours     number!  the same as hours of a machine of one FP32 TFLOP/s
gb_moved              number!  10^9 bytes in and out
amount                number!  of the charges, whoever gets it
share                 number!  what this party owes or earns
""")  # fmt: skip

LEDGER: Final = _table("ledger", "1", """
entry                 integer! the journal's entry
posted_at             moment!  when it was posted, by which the window is taken
kind                  text!    what it posts
key                   text!    the fact that it posts; each once
memo                  text!    a remark
task                  text     the task
leg                   integer! one debit or credit of the entry
account               integer! the account's number
account_kind          text!    such as `user_receivable`, docs/billing.md
organization          text     whose account it is; none: the platform's
organization_name     text     its name
currency              text!    ISO 4217
debit                 number!  0 for a credit
credit                number!  0 for a debit
position              integer  the entry's place in the sealed ledger, once it is sealed
seal                  integer  the seal
""")  # fmt: skip

APEL: Final = _table("apel", "0.3", """
Site                       text!    the site's name as it was asked for, or the provider's short name
SubmitHost                 text!    the pool's identifier
MachineName                text!    the pool's identifier
Queue                      text!    the capability
LocalJobId                 text!    the attempt's number
LocalUserId                text!    the customer's short name
GlobalUserName             text     never: customers are organizations
FQAN                       text!    /customer
VO                         text!    the customer's short name
VOGroup                    text!    /customer
VORole                     text     never
WallDuration               integer! whole seconds
CpuDuration                integer! whole seconds of CPU time
Processors                 integer  cores held
NodeCount                  integer! 1: an attempt runs on one machine
StartTime                  integer! seconds since 1970, rounded down
EndTime                    integer! seconds since 1970, rounded up, by which the window is taken
InfrastructureDescription  text!    GRIDFARE
InfrastructureType         text!    grid
MemoryReal                 integer  KB, the mean over the wall time
MemoryVirtual              integer  never
ServiceLevelType           text     the benchmark that the pool declares: si2k, hepspec or hepscore23
ServiceLevel               number   what a core does by it
""")  # fmt: skip

ACCELERATORS: Final = _table("accelerators", "0.1", """
MeasurementMonth           integer! of the attempt's end, UTC
MeasurementYear            integer! of the attempt's end, UTC
AssociatedRecordType       text!    job
AssociatedRecord           text!    the job's LocalJobId
GlobalUserName             text     never: customers are organizations
FQAN                       text!    /customer
SiteName                   text!    the job's Site
Count                      integer! accelerators held
Cores                      integer  never
ActiveDuration             integer  whole seconds of accelerator time, per accelerator
AvailableDuration          integer! whole seconds of wall time
BenchmarkType              text     never
Benchmark                  number   never
Type                       text!    GPU
Model                      text     where the pool has only one
""")  # fmt: skip

FOCUS: Final = Table("focus", "1.2", tuple(Told(column, "FOCUS 1.2" if column.level != "ours" else "ours") for column in COLUMNS))
TABLES: Final = {one.kind: one for one in (USAGE, CHARGES, STATEMENTS, LEDGER, APEL, ACCELERATORS, FOCUS)}

"""Lines -> charges, their entries and legs; what cannot be believed is parked. One statement each, for any number of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import connection
from psycopg.types.json import Jsonb

from billing.periods.rating import ALGORITHM, Month, Rated
from billing.periods.reading import Key, Line, Payee, rows, total_micros, windows
from billing.periods.refunds import Refund, left_of
from billing.periods.sql import CHARGES, DECIDED, ENTRIES, FORGET, PARK, PREVIEWS, STANDING, SUBJECTS
from billing.rating import precise, share_change
from billing.rating.currencies import rounded
from billing.services import Posting, post
from core.money import BASIS_POINTS, MICROS
from marketplace.services.contracts import Terms

BOUND_MICROS: Final = 10**9 * MICROS  # a month of one meter above this is a wrong price, not a bill
LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What a subject's month is charged already: its last revision. Parties and the platform's share stay what they are."""

    subject: int
    base: int
    revision: int
    total: int
    points: int
    digest: str
    billed: Decimal
    contract: int | None
    payee: Payee
    refunds: tuple[Refund, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many rows a run added."""

    charges: int = 0
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A line whose amount is not what stands. `rated` is what its usage comes to, `total` that less what was refunded."""

    line: Line
    rated: int
    before: Standing | None

    @property
    def total(self) -> int:
        return left_of(self.rated, self.before.refunds) if self.before else self.rated

    @property
    def delta(self) -> int:
        return self.total - (self.before.total if self.before else 0)


def standing_of(months: Mapping[int, Month]) -> dict[Key, Standing]:
    """The last revision of every subject of these months."""
    found = {}
    for organization, offer, payer, start, meter, version, *rest in rows(STANDING, windows(months)):
        subject, base, revision, total, points, digest, billed, contract, *payee, back = rest
        refunds = tuple(Refund(rounded(Fraction(rated) * MICROS), int(micros)) for rated, micros in back or ())
        key = Key(organization, offer, payer, start, meter, version)
        found[key] = Standing(subject, base, revision, total, points, digest, billed, contract, Payee(*payee), refunds)
    return found


def post_lines(
    lines: Sequence[Line], months: Mapping[int, Month], terms: Mapping[int, Terms], cutoff: datetime, *, late: bool
) -> Outcome:
    """Post what differs from what stands; `late`: nothing without an operator's word."""
    standing = standing_of(months)
    changes = _changes([*lines, *_vanished(lines, standing, months)], standing)
    if not changes:
        return Outcome()
    subjects = _subjects(changes)
    decided = {
        (subject, start, digest, int(total)): state for subject, start, digest, total, state in rows(DECIDED, windows(months))
    }
    parked, posted = [], []
    for change in changes:
        key = change.line.key
        state = decided.get((subjects[key], key.start, change.line.digest, change.total))
        reason = _doubt(change, late=late)
        if state == "approved" or (state is None and reason is None):
            posted.append(change)
        elif state is None:
            parked.append((change, reason))
    _post(posted, subjects, terms, cutoff)
    return Outcome(len(posted), _park(parked, subjects))


def _vanished(lines: Sequence[Line], standing: Mapping[Key, Standing], months: Mapping[int, Month]) -> list[Line]:
    """What was charged and has no usage any more: it comes to nothing."""
    gone = standing.keys() - {line.key for line in lines}
    nothing = Fraction(0)
    return [
        Line(key, months[key.organization], standing[key].payee, Rated(key.meter, nothing, nothing, (), "nothing is left"), 0, "")
        for key in sorted(gone)
    ]


def _changes(lines: Sequence[Line], standing: Mapping[Key, Standing]) -> list[Change]:
    found = [Change(line, total_micros(line.rated), standing.get(line.key)) for line in lines]
    return [one for one in found if one.before is None or one.delta or precise(one.line.rated.billed) != one.before.billed]


def _doubt(change: Change, *, late: bool) -> str | None:
    """Why this is not posted without a person."""
    if change.rated < 0:
        return "negative"
    if change.rated > BOUND_MICROS:
        return "bound"
    if change.line.rated.review:
        return "unknown"
    return "late" if late else None


def _subjects(changes: Sequence[Change]) -> dict[Key, int]:
    keys = [change.line.key for change in changes]
    names = ("organization", "offer", "version", "meter", "payer")
    columns = {f"{name}s": [getattr(key, name) for key in keys] for name in names}
    found = {tuple(subject): number for number, *subject in rows(SUBJECTS, columns)}
    return {key: found[tuple(getattr(key, name) for name in names)] for key in keys}


def _post(changes: Sequence[Change], subjects: Mapping[Key, int], terms: Mapping[int, Terms], cutoff: datetime) -> None:
    if not changes:
        return
    entries = _entries(changes, cutoff)
    made = [_row(change, subjects[change.line.key], terms[change.line.key.organization], entries) for change in changes]
    columns: dict[str, Any] = {name: [row[name] for row in made] for name in made[0]}
    with connection.cursor() as cursor:
        cursor.execute(CHARGES, columns | {"cutoff": cutoff, "algorithm": ALGORITHM})
    post([_posting(row) for row in made if row["amount"]])


def _entries(changes: Sequence[Change], cutoff: datetime) -> dict[int, int]:
    """One entry per organization and run, if any money moves: `period/<organization>/<month>/<cutoff>`."""
    moving = Counter(change.line.key.organization for change in changes if change.delta)
    months = {change.line.key.organization: change.line.month.first for change in changes}
    keys = {f"period/{one}/{months[one]:%Y-%m}/{cutoff:%Y%m%dT%H%M%S.%f}": one for one in sorted(moving)}
    if not keys:
        return {}
    memos = [f"{moving[one]} amounts of {months[one]:%Y-%m}" for one in keys.values()]
    return {keys[key]: entry for key, entry in rows(ENTRIES, {"keys": list(keys), "memos": memos})}


def _row(change: Change, subject: int, terms: Terms, entries: Mapping[int, int]) -> dict[str, Any]:
    line, rated, before = change.line, change.line.rated, change.before
    points = before.points if before else terms.platform_basis_points
    payee = before.payee if before else line.payee
    provided, published, platform = share_change(before.total if before else 0, change.total, points_of(payee, points))
    return {
        **{name: getattr(line.key, name) for name in ("organization", "offer", "version", "meter", "payer", "start")},
        "subject": subject,
        "provider": payee.provider,
        "publisher": payee.publisher,
        "contract": before.contract if before else terms.contract,
        "until": line.month.end,
        "zone": line.month.zone.key,
        "revision": before.revision + 1 if before else 0,
        "base": before.base if before else None,
        "raw": precise(rated.raw),
        "billed": precise(rated.billed),
        "currency": payee.currency,
        "precise": rated.amount,
        "total": change.total,
        "amount": change.delta,
        "provided": provided,
        "published": published,
        "platform": platform,
        "points": points,
        "lines": Jsonb(parts_json(rated)),
        "evidence": Jsonb(evidence_json(line)),
        "digest": line.digest,
        "entry": entries.get(line.key.organization) if change.delta else None,
    }


def points_of(payee: Payee, points: int) -> tuple[int, int, int]:
    """What provider, publisher and platform get of a month, in basis points: all but the platform's part goes to its payee.

    >>> points_of(Payee(7, None, "CNY"), 500), points_of(Payee(None, 8, "CNY"), 500)
    ((9500, 0, 500), (0, 9500, 500))
    """
    rest = BASIS_POINTS - points
    return (rest, 0, points) if payee.publisher is None else (0, rest, points)


def _posting(row: Mapping[str, Any]) -> Posting:
    return Posting(
        row["entry"], row["organization"], row["provider"], row["publisher"], row["currency"], row["payer"], 1,
        row["amount"], row["provided"], row["published"], row["platform"],
    )  # fmt: skip


def parts_json(rated: Rated) -> list[dict[str, str]]:
    """The parts of an amount as they are stored."""
    return [
        {
            "kind": part.kind,
            "quantity": text_of(part.quantity),
            "unit_price": format(part.price.normalize(), "f"),
            "amount": format(part.amount.normalize(), "f"),
        }
        for part in rated.parts
    ]


def evidence_json(line: Line) -> dict[str, Any]:
    """How the quantity came about, as it is stored."""
    rated = line.rated
    found: dict[str, Any] = {"facts": line.facts, "formula": rated.formula, "billed": str(rated.billed), "raw": str(rated.raw)}
    return found | ({"peaks": list(rated.peaks)} if rated.peaks else {})


def text_of(value: Fraction) -> str:
    """A quantity as decimal text, at most twelve places."""
    return format(precise(value).normalize(), "f")


def _park(parked: Sequence[tuple[Change, str | None]], subjects: Mapping[Key, int]) -> int:
    if not parked:
        return 0
    columns: dict[str, Any] = {
        "subject": [subjects[change.line.key] for change, _ in parked],
        "organization": [change.line.key.organization for change, _ in parked],
        "start": [change.line.key.start for change, _ in parked],
        "until": [change.line.month.end for change, _ in parked],
        "reason": [reason for _, reason in parked],
        "total": [change.total for change, _ in parked],
        "before": [change.before.total if change.before else 0 for change, _ in parked],
        "billed": [precise(change.line.rated.billed) for change, _ in parked],
        "digest": [change.line.digest for change, _ in parked],
    }
    with connection.cursor() as cursor:
        cursor.execute(PARK, columns)
        return int(cursor.rowcount)


def preview_lines(lines: Sequence[Line], months: Mapping[int, Month], cutoff: datetime) -> Outcome:
    """Write previews over the last ones."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, windows(months))
        columns = {
            name: [getattr(line.key, name) for line in lines]
            for name in ("organization", "offer", "version", "meter", "payer", "start")
        }
        columns |= {
            "until": [line.month.end for line in lines],
            "billed": [precise(line.rated.billed) for line in lines],
            "currency": [line.payee.currency for line in lines],
            "total": [total_micros(line.rated) for line in lines],
            "digest": [line.digest for line in lines],
        }
        cursor.execute(PREVIEWS, columns | {"cutoff": cutoff})
        return Outcome(cursor.rowcount)

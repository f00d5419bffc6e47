"""The recount: one statement reads the running month, pure functions score it and tell what moved, one transaction keeps it.

Woken when pools come and charges are written, and each minute for what a lost wake left. However many rows came since, it is one
recount: what is due is told from the rows' own marks, and the number of statements does not grow with them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from index.analysis.scales import lent
from index.defining import definition_named, ensure_shipped, tree_of, weights_of
from index.live.services import CODE, FEWEST, SHRINK, Window
from index.method.numbers import stored
from index.method.scoring import raw_of
from index.models import IndexDefinition, IndexPreview, IndexRun, PreviewChange, WeightSet
from index.preview.causing import Charged, Happened, Pools, cause_of, pools_moved
from index.preview.moving import PROFILE, Moment, Move, Posts, ends, moment, moves
from index.preview.saying import sentence
from index.preview.sql import CHARGED, LOCK, MARKS, MOMENT
from index.trees import Definition

AT_LEAST: Final = timedelta(seconds=10)  # between two recounts
SHARE: Final = 20  # a recount takes at most this part of the time: the next one waits so many times its length
KEPT: Final = timedelta(days=60)  # then a preview is forgotten with its changes
_WHEN: Final = ("before", "after")
Row = tuple[str, str, Decimal, int]


@dataclass(frozen=True, slots=True)
class Ground:
    """By what a preview is scored. Of two with other grounds, or of two months, nothing is compared."""

    definition: IndexDefinition
    weights: WeightSet
    base: IndexRun | None
    period: str

    @classmethod
    def now(cls, period: str) -> Ground:
        """That of the platform's newest edition; without one the shipped definition with equal weights."""
        editions = IndexRun.objects.filter(definition__code=CODE, profile=PROFILE, edition__isnull=False)
        base = editions.select_related("definition", "weights").defer("inputs", "analysis").order_by("-published_at", "-pk").first()
        if base is not None:
            return cls(base.definition, base.weights, base, period)
        definition = definition_named(CODE)
        return cls(definition, WeightSet.objects.get(definition=definition, kind="placeholder"), None, period)

    def stands(self, last: IndexPreview | None) -> bool:
        """Whether the last preview was made on it."""
        if last is None:
            return False
        mine = (self.definition.pk, self.weights.pk, self.base.pk if self.base else None)
        return mine == (last.definition_id, last.weights_id, last.base_id)


def recount(now: datetime | None = None) -> IndexPreview | None:
    """Count, score and keep the running month, with what moved since the last preview. May run as often as one likes.

    None where nothing has happened since, where the last recount was a moment ago, or while another one is at it.
    """
    now = now or timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        last = IndexPreview.objects.order_by("-pk").first() if cursor.fetchone()[0] else None
        window = Window.of(now, now)
        if not _is_due(last, window, now):
            return None
        ensure_shipped()
        begun = time.monotonic()
        rows = _read(MOMENT, window)
        return _keep(Ground.now(window.period), last, rows, now, int((time.monotonic() - begun) * 1000))


def _is_due(last: IndexPreview | None, window: Window, now: datetime) -> bool:
    """Rows have come that the last one has not seen, or a new month, and it is not too soon."""
    if last is None:
        return True
    pause = max(AT_LEAST, SHARE * timedelta(milliseconds=last.took_ms))
    return now - last.counted_at >= pause and (last.period != window.period or _marks(_read(MARKS, window)) != last.marks)


def _read(sql: str, window: Window) -> list[Row]:
    given: dict[str, Any] = {"start": window.start, "until": window.until, "before": window.before, "currency": settings.CURRENCY}
    with connection.cursor() as cursor:
        cursor.execute(sql, given | {"shrink": SHRINK, "fewest": FEWEST})
        rows: list[Row] = cursor.fetchall()
    return rows


def _marks(rows: Sequence[Row]) -> list[list[Any]]:
    return sorted([name, text, int(number), n] for name, text, number, n in rows if name.startswith("mark/"))


def _keep(ground: Ground, last: IndexPreview | None, rows: Sequence[Row], now: datetime, took_ms: int) -> IndexPreview:
    tree, weights = tree_of(ground.definition), weights_of(ground.weights)
    values, pools, marks = _values(rows), _pools(rows), _marks(rows)
    same = ground.stands(last)
    posts = ends(_posts(ground, last if same else None), raw_of(tree, PROFILE, values))
    after = moment(tree, weights, values, posts)
    preview = IndexPreview.objects.create(
        definition=ground.definition, weights=ground.weights, base=ground.base, period=ground.period, counted_at=now,
        took_ms=took_ms, posts={leaf: [format(end, "f") for end in pair] for leaf, pair in posts.items()}, marks=marks,
        scores=_scores(after),
        document={"values": _told(values), "pools": {number: list(one) for number, one in pools.items()}},
    )  # fmt: skip
    if last is not None:
        if same and last.document and last.period == preview.period:
            before = moment(tree, weights, _values_of(last), _posts_of(last))
            _keep_changes(preview, tree, moves(tree, before, after), _happened(last, marks, pools))
        IndexPreview.objects.filter(pk=last.pk).update(document=None)
    return preview


def _keep_changes(preview: IndexPreview, tree: Definition, moved: Sequence[Move], happened: Happened) -> None:
    found = []
    for one in moved:
        cause, causes = cause_of(one, happened)
        variables: list[dict[str, Any]] = [
            {"variable": name}
            | {when: None if value is None else format(value, "f") for when, value in zip(_WHEN, pair, strict=True)}
            for name, pair in one.variables.items()
        ]
        found.append(PreviewChange(
            preview=preview, region=one.region, leaf=one.leaf, node=one.node, before=one.before, after=one.after, points=one.points,
            raw_before=one.raw_before, raw_after=one.raw_after, variables=variables, cause=cause, causes=causes,
            sentence=sentence(tree, one, cause, causes),
        ))  # fmt: skip
    PreviewChange.objects.bulk_create(found)


def _happened(last: IndexPreview, marks: Sequence[Sequence[Any]], pools: Pools) -> Happened:
    after, until = (next((one[2] for one in each if one[0] == "mark/charges"), 0) for each in (last.marks, marks))
    with connection.cursor() as cursor:
        cursor.execute(CHARGED, {"after": after, "until": until})
        rows = cursor.fetchall()
    sides = {side: {region: Charged(n, tasks) for one, region, n, tasks in rows if one == side} for side in ("site", "customer")}
    before = {number: (kind, region, mflops) for number, (kind, region, mflops) in (last.document or {})["pools"].items()}
    return Happened(pools_moved(before, pools), sides["site"], sides["customer"], after, until)


def _posts(ground: Ground, last: IndexPreview | None) -> Posts:
    """The edition's ends, and those that earlier previews on the same ground found for what the edition has none of."""
    given = _lent(ground.base) if ground.base else {}
    found = {leaf: (Decimal(low), Decimal(high)) for leaf, (low, high) in given.items()}
    return {**(_posts_of(last) if last else {}), **found}


def _lent(base: IndexRun) -> dict[str, list[str]]:
    """The ends that an edition lends; not those of logarithms, for a preview takes none."""
    given = lent(tree_of(base.definition), base.read("result"))
    return {leaf: posts for leaf, posts in given["goalposts"].items() if "shift" not in given["treatment"].get(leaf, {})}


def _posts_of(preview: IndexPreview) -> Posts:
    return {leaf: (Decimal(low), Decimal(high)) for leaf, (low, high) in preview.posts.items()}


def _values(rows: Sequence[Row]) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = {}
    for variable, region, value, _ in rows:
        if "/" not in variable and value is not None:
            found.setdefault(variable, {})[region] = stored(Decimal(value))
    return found


def _values_of(preview: IndexPreview) -> dict[str, dict[str, Decimal]]:
    told = (preview.document or {})["values"]
    return {variable: {region: Decimal(value) for region, value in each.items()} for variable, each in told.items()}


def _pools(rows: Sequence[Row]) -> dict[str, tuple[str, str, int]]:
    return {
        f"{number:.0f}": (name.removeprefix("pool/"), region, n) for name, region, number, n in rows if name.startswith("pool/")
    }


def _told(values: Mapping[str, Mapping[str, Decimal]]) -> dict[str, dict[str, str]]:
    return {name: {region: format(value, "f") for region, value in sorted(each.items())} for name, each in sorted(values.items())}


def _scores(one: Moment) -> dict[str, dict[str, str]]:
    """Of all that blends: indicators' own scores follow from the document."""
    known = {code: one.result.scores[code] for code in one.tree}
    return _told({code: {region: stored(value) for region, value in each.items()} for code, each in known.items()})


def forget(now: datetime | None = None) -> int:
    """Remove previews of long ago with their changes; the newest stays. Returns how many."""
    newest = IndexPreview.objects.order_by("-pk").values("pk")[:1]
    old = IndexPreview.objects.filter(counted_at__lt=(now or timezone.now()) - KEPT).exclude(pk__in=newest)
    return old.delete()[1].get("index.IndexPreview", 0)

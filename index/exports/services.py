"""What a stored run exports: its facts read once, in two statements."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from core.errors import NotFound
from index.defining import tree_of, weights_of
from index.exports.files import moment, table_csv, workbook
from index.exports.tables import NOTICE, TABLES, Cell, Facts, indicator, province
from index.models import IndexRun, Observation
from index.regions import PROVINCES
from index.running.services import bundle_of
from index.trees import ROOT

FORM: Final = 1  # of the files: raised when they change, so that no kept one is taken for new
_OBSERVED: Final = (
    "region",
    "variable",
    "period",
    "value",
    "unit",
    "vintage",
    "batch__origin",
    "source",
    "url",
    "batch__name",
    "row",
)


def facts_of(run: IndexRun, observed: bool = True) -> Facts:
    """With every value that was seen and its source, unless that is not asked for."""
    return Facts(
        tree_of(run.definition), run.profile, weights_of(run.weights), run.read("result"), run.read("analysis"), _about(run),
        _observations(run) if observed else [], run.synthetic,
    )  # fmt: skip


def _about(run: IndexRun) -> list[tuple[str, str]]:
    return [
        ("definition", run.definition.title), ("definition_sha256", run.definition.digest), ("weights", run.weights.name),
        ("weights_sha256", run.weights.digest), ("profile", run.profile), ("period", run.period), ("as_of", f"{run.as_of}"),
        ("known_at", moment(run.known_at)), ("run", f"{run.pk}"), ("edition", f"{run.edition or ''}"),
        ("change_note", run.change_note),
        ("published_at", moment(run.published_at)), ("synthetic", "yes" if run.synthetic else "no"), ("result_sha256", run.digest),
        ("inputs_sha256", run.input_digest), ("analysis_sha256", run.analysis_digest),
    ]  # fmt: skip


def _observations(run: IndexRun) -> list[list[Cell]]:
    numbers = [one[1] for row in run.read("inputs").values() for one in row.values()]
    rows = Observation.objects.filter(pk__in=numbers).order_by("variable", "region", "pk")
    return [_row(dict(zip((*_OBSERVED, "digest"), one, strict=True))) for one in rows.values_list(*_OBSERVED, "batch__digest")]


def _row(one: dict[str, Any]) -> list[Cell]:
    place = PROVINCES[one["region"]].en if one["region"] in PROVINCES else None
    value: Decimal = one["value"].normalize()
    return [
        one["region"], place, one["variable"], one["period"], value, one["unit"], f"{one['vintage']}", one["batch__origin"],
        one["source"], one["url"], one["batch__name"], one["row"], one["digest"],
    ]  # fmt: skip


def name_of(run: IndexRun, part: str, ending: str) -> str:
    """A file's name: what it is of, and that values were generated where they were."""
    mark = "-synthetic" if run.synthetic else ""
    part = f"-{part}" if part else ""
    return f"{run.definition.code}-{run.definition.version}-{run.period}-{run.profile}-run-{run.pk}{part}{mark}.{ending}"


def etag_of(run: IndexRun, part: str) -> str:
    """Of a file: another one where the run's bytes, its edition or the form of the file is another."""
    told = (FORM, part, run.pk, run.digest, run.analysis_digest, run.input_digest, run.edition, run.change_note)
    return f'"{sha256(repr(told).encode()).hexdigest()[:32]}"'


def xlsx_of(run: IndexRun) -> bytes:
    """All tables as sheets."""
    facts = facts_of(run)
    return workbook((made(facts) for made in TABLES.values()), run.synthetic)


def csv_of(run: IndexRun, table: str) -> str:
    """One table. NotFound `table_unknown`."""
    if table not in TABLES:
        raise NotFound("table_unknown", f"a run has {', '.join(TABLES)}", field="table")
    return table_csv(TABLES[table](facts_of(run, observed=table == "observations")), run.synthetic)


def province_csv(run: IndexRun, region: str) -> str:
    """NotFound `region_unknown`."""
    if region not in PROVINCES:
        raise NotFound("region_unknown", "there is no such province", field="region")
    return table_csv(province(facts_of(run, observed=False), region), run.synthetic)


def indicator_csv(run: IndexRun, code: str) -> str:
    """NotFound `indicator_unknown`."""
    facts = facts_of(run, observed=False)
    if code != ROOT and code not in facts.tree.nodes:
        raise NotFound("indicator_unknown", "there is no such indicator", field="indicator")
    return table_csv(indicator(facts, code), run.synthetic)


def document_of(run: IndexRun) -> dict[str, Any]:
    """The bundle, which a replay takes, with what a reader must know first."""
    head = {"notice": NOTICE} if run.synthetic else {}
    return head | {"synthetic": run.synthetic, "about": dict(_about(run))} | bundle_of(run)

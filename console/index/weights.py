"""Weights on pages: what was recorded, what it comes to side by side, what it was made of, and weights from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from rest_framework.exceptions import ValidationError

from console.index.reading import Shown, chosen
from console.index.weighed import judged_by, nodes_weighed, ratios_recorded, shares_drawn, shares_of_sets
from console.lists import newest
from console.pages import Page, document_of
from core.errors import DomainError, Invalid, NotFound
from index.api import IndexWeightsIn
from index.defining import definition_named, experts_of, read_weights, record_weights, tree_of
from index.models import IndexDefinition, IndexRun, Panel, WeightSet
from index.running.documents import drawn_among
from index.trees import Definition
from index.weighing import MOST_CHARACTERS, read_text, text_of
from marketplace.api.serializers import valid
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

BESIDE: Final = 4  # sets side by side
PANELS: Final = 20
RUNS: Final = 20
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose weights are shown. `shown` is the run at the page's top, if it is one of this definition."""

    row: IndexDefinition
    tree: Definition
    profile: str
    shown: Shown | None

    @property
    def own(self) -> list[WeightSet]:
        return [self.shown.run.weights] if self.shown else []

    @property
    def head(self) -> dict[str, Any]:
        return self.shown.head if self.shown else {"name": self.tree.name, "title": self.tree.title}


def _subject(request: HttpRequest) -> Subject:
    """The definition of `?definition=`, else the shown run's. NotFound `definition_unknown`, `run_unknown`."""
    title = request.GET.get("definition", "")
    if not title:
        shown = chosen(request)
        return Subject(shown.run.definition, shown.tree, shown.run.profile, shown)
    row = definition_named(title)
    return Subject(row, tree := tree_of(row), tree.profiles[0], None)


class IndexWeights(Page):
    """Sets of weights of a definition, some of them side by side (`?sets=1&sets=2`), and its panels."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/weights.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        about = _subject(request)
        rows = WeightSet.objects.defer("evidence").select_related("recorded_by").filter(definition=about.row)
        found, before = newest(request, rows)
        beside = _beside(request, about, found)
        shares = shares_of_sets(about.tree, about.profile, beside)
        uses = _uses([one.pk for one in found])
        picked = {one.pk for one in beside}
        history = [{"set": one, "uses": uses.get(one.pk), "picked": one.pk in picked} for one in found]
        context = {"history": history, "before": before, "beside": beside, "shares": shares, "most": BESIDE}
        context |= {"profile": about.profile, "panels": _panels(about.row), "definitions": published(), "title": about.row.title}
        figure = shares_drawn(shares, beside, note=f"Gridfare, weights of {about.row.title}, method after CAICT 2023")
        return self.show(about.head | context | {"chart": figure, "given": {"definition": about.row.title}})


def _beside(request: HttpRequest, about: Subject, newest_ones: Sequence[WeightSet]) -> list[WeightSet]:
    """Those that were asked for; else the run's own and the newest others. NotFound `weights_unknown`, Invalid `invalid_input`."""
    asked = list(dict.fromkeys(request.GET.getlist("sets")))
    if not asked:
        return list({one.pk: one for one in [*about.own, *newest_ones]}.values())[:BESIDE]
    if len(asked) > BESIDE:
        raise Invalid("invalid_input", f"at most {BESIDE} sets of weights fit side by side", field="sets")
    numbers = [int(one) for one in asked if one.isascii() and one.isdigit() and len(one) <= _MOST_DIGITS]
    rows = WeightSet.objects.defer("evidence").filter(definition=about.row, pk__in=numbers).in_bulk()
    if len(rows) < len(asked):
        raise NotFound("weights_unknown", "the definition has no such weights", field="sets")
    return [rows[one] for one in numbers]


def _uses(sets: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By set: how many runs and editions have its weights, and the newest of them. One statement."""
    rows = IndexRun.objects.filter(weights__in=sets).values("weights").order_by()
    counted = rows.annotate(runs=Count("pk"), editions=Count("pk", filter=Q(edition__isnull=False)), last=Max("pk"))
    return {row["weights"]: dict(row) for row in counted}


def _panels(row: IndexDefinition) -> list[Panel]:
    rows = Panel.objects.filter(definition=row).select_related("created_by")
    return list(rows.annotate(count=Count("experts")).order_by("-pk")[:PANELS])


class IndexWeightSet(Page):
    """One set: every node's weight, the runs that have it, and all that it was made of. `?expert=` shows what one expert said."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/weight_set.html"

    def get(self, request: HttpRequest, weights: int) -> HttpResponse:
        found = WeightSet.objects.select_related("definition", "recorded_by", "panel").filter(pk=min(weights, 2**63 - 1)).first()
        if found is None:
            raise NotFound("weights_unknown", "there are no such weights")
        tree, name = tree_of(found.definition), request.GET.get("expert", "")
        judged = judged_by(tree, found.evidence, name)
        if name and not judged:
            raise NotFound("panel_unknown", "there is no such expert of this panel")
        runs = IndexRun.objects.defer("inputs", "result", "analysis").select_related("definition").filter(weights=found)
        context = {
            "set": found,
            "evidence": found.evidence,
            "nodes": nodes_weighed(tree, found),
            "runs": runs.order_by("-pk")[:RUNS],
        }
        context |= {"drawn": drawn_among(experts_of(found))}
        if found.kind == WeightSet.Kind.PANEL:
            context |= {"ratios": ratios_recorded(tree, found.evidence), "expert": name, "judged": judged}
        return self.show(context | {"panel": getattr(found, "panel", None), "name": tree.name})


class ImportWeights(Page):
    """Weights of a file or of what was pasted. A refusal is told at the field, and all that was filled in stays."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    template_name = "console/index/import_weights.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show({"definition": request.GET.get("definition", "")})

    def post(self, request: HttpRequest) -> HttpResponse:
        given = {name: request.POST.get(name, "") for name in ("definition", "name", "note", "weights")}
        try:
            given["weights"] = self._pasted(given["weights"])
            made = self._made(given)
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            field = str(problem.get("field") or "")
            code = field.removeprefix("weights.") if field.startswith("weights.") else ""
            told = f"{code}: {problem['detail']}" if code and code not in problem["detail"] else problem["detail"]
            return self._show(given, {field.partition(".")[0] or _field_of(problem["code"]): told}, problem["status"])
        return redirect("console:index-weight-set", made.pk)

    def _pasted(self, text: str) -> str:
        """What a file says instead, where one came: it is shown in the form, where it can be put right."""
        file = self.request.FILES.get("file")
        if file is None:
            return text
        if (file.size or 0) > 4 * MOST_CHARACTERS:
            raise Invalid("weights_invalid", f"a file of weights is at most {MOST_CHARACTERS} characters", field="weights")
        return text_of(file.read())

    def _made(self, given: dict[str, str]) -> WeightSet:
        filled = {name: text for name, text in given.items() if text.strip()}
        asked = valid(IndexWeightsIn(data=filled | {"weights": read_text(given["weights"])}))
        row = definition_named(asked["definition"])
        weights = read_weights(row, asked["weights"])
        return record_weights(row, asked["name"], WeightSet.Kind.IMPORTED, weights, {"note": asked["note"]}, self.caller.user)

    def _show(self, given: dict[str, str], errors: dict[str, str] | None = None, status: int = 200) -> HttpResponse:
        return self.show({"given": given, "errors": errors or {}, "definitions": published()}, status)


def _field_of(code: str) -> str:
    return "name" if code == "weights_exist" else "weights"


def published() -> list[IndexDefinition]:
    """What weights may be of, the newest first."""
    rows = IndexDefinition.objects.filter(state="published").defer("document")
    return list(rows.order_by("-published_at", "-pk")[:50])

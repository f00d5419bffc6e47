"""Panels on pages: opening one, how it stands, what one expert judges, and recording its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from rest_framework.exceptions import ValidationError

from console.index.judged import blame, counted, experts_told, fill, groups_told, questionnaire, ratios, tell, weights_drawn
from console.index.weighed import group_name
from console.index.weights import published
from console.pages import Page, document_of
from core.errors import DomainError, Invalid, NotFound
from index.ahp.tables import DEFAULT, TABLES
from index.defining import definition_named, tree_of
from index.models import Expert, Judgement, Panel
from index.panel_api import PanelIn, RecordIn, voices_in
from index.panels import Said, heard, judge, let_go, names_of, open_panel, panel_numbered, preview, record, standings
from marketplace.api.serializers import valid
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
_MOST_DIGITS: Final = 19
RULES: Final = {
    "judgements": "as one: the geometric mean of judgements (AIJ)",
    "weights": "as separate voices: the geometric mean of weights (AIP)",
}


class NewPanel(Page):
    """A panel with its experts, one a line. A refusal is told at its field, and all that was filled in stays."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    template_name = "console/index/new_panel.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        first = {"definition": request.GET.get("definition", ""), "rule": "judgements", "random_index": DEFAULT}
        return self._show(first)

    def post(self, request: HttpRequest) -> HttpResponse:
        given = {name: request.POST.get(name, "") for name in ("name", "definition", "rule", "random_index", "experts")}
        try:
            panel = self._opened(given)
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            return self._show(given, _at_its_field(problem), problem["status"])
        return redirect("console:index-panel", panel.pk)

    def _opened(self, given: Mapping[str, str]) -> Panel:
        experts = experts_in(given["experts"])
        if not experts:
            raise Invalid("experts_invalid", "a panel has one expert at least", field="experts")
        asked = valid(PanelIn(data={**given, "experts": experts}))
        row = definition_named(asked["definition"])
        voices = voices_in(asked["experts"])
        return open_panel(row, asked["name"], voices, asked["random_index"], asked["rule"], self.caller.user)

    def _show(self, given: Mapping[str, str], errors: Mapping[str, str] | None = None, status: int = 200) -> HttpResponse:
        choices = {"definitions": published(), "rules": RULES.items(), "tables": [(name, one[0]) for name, one in TABLES.items()]}
        return self.show({"given": given, "errors": errors or {}} | choices, status)


def experts_in(text: str) -> list[dict[str, str]]:
    """`name` or `name, voice` a line, as the API takes them."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, comma, voice = line.rpartition(",")
        found.append({"name": name.strip(), "voice": voice.strip()} if comma else {"name": line})
    return found


def _at_its_field(problem: Mapping[str, Any]) -> dict[str, str]:
    """By field; of an expert it says which one."""
    field, _, rest = str(problem.get("field") or "").partition(".")
    number = rest.partition(".")[0]
    return {field or "name": f"expert {int(number) + 1}: {problem['detail']}" if number.isdigit() else problem["detail"]}


class OnePanel(Page):
    """How a panel stands: each expert, all together beside them; the forms that record its weights and let a silent expert go."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    template_name = "console/index/panel.html"

    def get(self, request: HttpRequest, panel: int) -> HttpResponse:
        return self._show(panel_numbered(min(panel, MAX_BIGINT)))

    def post(self, request: HttpRequest, panel: int) -> HttpResponse:
        found = panel_numbered(min(panel, MAX_BIGINT))
        try:
            if gone := request.POST.get("let_go", ""):
                let_go(found.pk, int(gone) if gone.isascii() and gone.isdigit() and len(gone) < _MOST_DIGITS else 0)
                return redirect("console:index-panel", found.pk)
            name = valid(RecordIn(data={"name": request.POST.get("name", "")}))["name"]
            made = record(found.pk, name, self.caller.user)
        except (DomainError, ValidationError) as error:
            return self._show(panel_numbered(found.pk), document_of(error))
        return redirect("console:index-weight-set", made.pk)

    def _show(self, panel: Panel, problem: Mapping[str, Any] | None = None) -> HttpResponse:
        said, tree = heard(panel), tree_of(panel.definition)
        told = standings(said)
        groups = groups_told(said, told, tree)
        columns = [(parent, group_name(tree, parent)) for parent, below in said.groups.items() if len(below) > 2]
        context = {
            "panel": panel,
            "rule": RULES[panel.rule],
            "table": TABLES[panel.random_index][0],
            "columns": columns,
            "experts": experts_told(said, told, tree),
            "together": ratios(told[""], said.groups),
            "groups": groups,
            "chart": weights_drawn(groups),
            "of": sum(len(below) * (len(below) - 1) // 2 for below in said.groups.values()),
            "ready": not any(one.missing for one in told[""]),
            "given": self.request.POST.get("name", panel.name),
        }
        return self.show(context | {"problem": problem, "name": tree.name}, problem["status"] if problem else 200)


class JudgePage(Page):
    """The questionnaire of one expert. It is kept part by part; what was left empty is not judged yet."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    template_name = "console/index/judge.html"

    def get(self, request: HttpRequest, panel: int, expert: int) -> HttpResponse:
        return self._show(*self._found(panel, expert))

    def post(self, request: HttpRequest, panel: int, expert: int) -> HttpResponse:
        found, one = self._found(panel, expert)
        groups = self._groups(found, one)
        said = fill(groups, request.POST.dict())
        try:
            judge(found.pk, one.pk, said)
        except DomainError as error:
            problem = document_of(error)
            told = None if blame(groups, said, problem) else problem
            return self._show(found, one, groups, told, problem["status"])
        return redirect(f"{reverse('console:index-judge', args=[found.pk, one.pk])}?kept={len(said)}")

    def _found(self, panel: int, expert: int) -> tuple[Panel, Expert]:
        found = panel_numbered(min(panel, MAX_BIGINT))
        one = found.experts.filter(pk=min(expert, MAX_BIGINT)).first()
        if one is None:
            raise NotFound("panel_unknown", "there is no such panel or expert")
        return found, one

    def _groups(self, panel: Panel, expert: Expert) -> list[Any]:
        rows = Judgement.objects.filter(expert=expert).values_list("one", "other", "value")
        return questionnaire(tree_of(panel.definition), {(one, other): value for one, other, value in rows})

    def _show(
        self,
        panel: Panel,
        expert: Expert,
        groups: list[Any] | None = None,
        problem: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> HttpResponse:
        groups = groups or self._groups(panel, expert)
        tree = tree_of(panel.definition)
        pairs = [pair for group in groups for pair in group.pairs]
        known = [Said(pair.one, pair.other, pair.value) for pair in pairs if not pair.error]
        tell(groups, preview(panel, known), names_of(tree))
        judged, of = counted(groups)
        kept = self.request.GET.get("kept", "") if self.request.method == "GET" else ""
        context = {"panel": panel, "expert": expert, "groups": groups, "judged": judged, "of": of, "problem": problem}
        return self.show(context | {"kept": kept, "name": tree.name, "open": panel.state == Panel.State.OPEN}, status)

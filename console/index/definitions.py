"""Definitions on pages: versions, what one says, two beside each other; operators write drafts and publish them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.lists import newest
from console.pages import Page
from core.errors import Conflict, Invalid
from index.defining import MOST_CHARACTERS, compared, definition_named, draft, publish_meant, tree_of
from index.faults import Fault, place_said, read_document
from index.models import IndexDefinition, IndexRun, WeightSet
from index.trees import ROOT, Definition, definition_of
from index.written import as_yaml
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

USE = {
    "runs_made": Count("runs", distinct=True),
    "editions": Count("runs", filter=Q(runs__edition__isnull=False), distinct=True),
    "weights_kept": Count("weight_sets", distinct=True),
}


class IndexDefinitions(Page):
    """All versions, newest first. Operators see drafts, and write them: `?from=` begins with another's text."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    template_name = "console/index/definitions.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        text, begun = "", request.GET.get("from", "")
        if begun and self.caller.is_operator:
            text = _next_version(tree_of(definition_named(begun, drafts=True)))
        return self._show(request, {"text": text})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Keep a draft, or show everything that is wrong with it."""
        text = request.POST.get("text", "")
        if len(text) > MOST_CHARACTERS:
            raise Invalid("definition_invalid", f"longer than {MOST_CHARACTERS} characters", field="definition")
        document, faults = read_document(text)
        if faults:
            return self._show(request, {"text": text, "faults": [_row(document, one) for one in faults]}, 422)
        try:
            made = draft(definition_of(document))
        except Conflict as error:
            row = {"place": "version", "detail": error.detail, "code": error.code}
            return self._show(request, {"text": text, "faults": [row]}, 409)
        return redirect("console:index-definition", made.title)

    def _show(self, request: HttpRequest, more: dict[str, Any], status: int = 200) -> HttpResponse:
        rows = IndexDefinition.objects.defer("document").annotate(**USE)
        found, before = newest(request, rows if self.caller.is_operator else rows.filter(state="published"))
        return self.show({"definitions": found, "before": before} | more, status)


def _next_version(tree: Definition) -> str:
    return as_yaml({**tree.document, "version": tree.version + 1})


def _row(document: Any, one: Fault) -> dict[str, Any]:
    return {"place": place_said(document, one.place), "detail": one.detail, "code": one.code, "line": one.line}


class IndexDefinitionPage(Page):
    """One version: its method, tree, variables, text, digest, and what was made by it."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/definition.html"

    def get(self, request: HttpRequest, definition: str) -> HttpResponse:
        row = definition_named(definition, drafts=self.caller.is_operator)
        tree = tree_of(row)
        runs = IndexRun.objects.defer("inputs", "result", "analysis").select_related("weights").filter(definition=row)
        weights = list(WeightSet.objects.filter(definition=row).order_by("-pk")[:20])
        others = IndexDefinition.objects.defer("document").filter(code=row.code).exclude(pk=row.pk).order_by("-version")
        others = others if self.caller.is_operator else others.filter(state="published")
        context = {"one": row, "tree": tree, "nodes": _nodes(tree), "text": as_yaml(tree.document), "weights": weights}
        return self.show(context | {"runs": runs.order_by("-pk")[:20], "others": others[:20]})


def _nodes(tree: Definition) -> list[dict[str, Any]]:
    levels = {ROOT: 0}
    for node in tree.nodes.values():
        levels[node.code] = levels[node.parent] + 1
    return [{"node": node, "level": levels[node.code], "formulas": dict(node.formula)} for node in tree.nodes.values()]


class IndexDefinitionPublish(Page):
    """Publish a draft, after a tick that it is meant: it never changes afterwards."""

    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    def post(self, request: HttpRequest, definition: str) -> HttpResponse:
        return redirect("console:index-definition", publish_meant(definition, request.POST.get("confirm", "")).title)


class IndexDefinitionDifference(Page):
    """`?before=&after=`: what changed between two versions, place by place."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/definition_diff.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        titles = [request.GET.get(name, "") for name in ("before", "after")]
        found = compared(*titles, drafts=self.caller.is_operator)
        names = {ROOT: "the index"} | {code: f"{code} {node.name['en']}" for code, node in tree_of(found.after).nodes.items()}
        groups = [{"parent": names[one.parent], "one": one} for one in found.comparison.unweighed]
        return self.show({"found": found, "comparison": found.comparison, "groups": groups})

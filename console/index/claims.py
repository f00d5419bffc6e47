"""The claims page: the report's own statements beside what a run gives."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.index.reading import chosen
from console.index.tables import csv_of, wants_csv
from console.pages import Page
from index.analysis.claims import Finding
from index.claims import findings, ledger
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

COLUMNS: Final = ("id", "place", "quote", "statement", "kind", "this_run", "outcome", "comparable", "reasons", "doubt")


class IndexClaims(Page):
    """Every statement with its place, what this run gives, and why the two can or cannot be compared."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/claims.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        found = findings(shown.run)
        if wants_csv(request):
            return csv_of(shown, "claims", COLUMNS, map(_line, found))
        counts = Counter(one.verdict for one in found if one.comparable)
        context = {"findings": found, "of": ledger()["source"], "counts": counts, "apart": sum(not one.comparable for one in found)}
        return self.show(shown.head | context)


def _line(one: Finding) -> list[Any]:
    claim = one.claim
    said = [claim["id"], claim["place"], claim["quote"], claim["en"], claim["kind"]]
    return [*said, one.found, one.verdict, one.comparable, "; ".join(one.reasons), claim.get("doubt", "")]

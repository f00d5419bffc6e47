"""The claims page: the report's own statements beside what a run gives."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from django.http import HttpRequest, HttpResponse

from console.index.reading import chosen
from console.pages import Page
from index.claims import findings, ledger
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ


class IndexClaims(Page):
    """Every statement with its place, what this run gives, and why the two can or cannot be compared."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/claims.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        found = findings(shown.run)
        counts = Counter(one.verdict for one in found if one.comparable)
        context = {"findings": found, "of": ledger()["source"], "counts": counts, "apart": sum(not one.comparable for one in found)}
        return self.show(shown.head | context)

"""A page's table as CSV: the exact values, and on every line from which run they are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse

from console.index.reading import Shown
from core.errors import Invalid
from core.spreadsheets import safe_cell


def wants_csv(request: HttpRequest) -> bool:
    """Whether `?as=csv` asks for the numbers instead of the page. Invalid `invalid_parameter`."""
    asked = request.GET.get("as", "")
    if asked not in {"", "csv"}:
        raise Invalid("invalid_parameter", "a page's numbers are given as csv", field="as")
    return asked == "csv"


def csv_of(shown: Shown, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """`columns` and `rows`, with the definition, the run, its digest and whether it holds generated values at each end."""
    run = shown.run
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="index-run-{run.pk}-{name}.csv"'
    writer = csv.writer(answer, lineterminator="\r\n")
    writer.writerow(map(safe_cell, [*columns, "definition", "period", "profile", "run", "digest", "synthetic"]))
    writer.writerows(
        map(safe_cell, [*row, shown.tree.title, run.period, run.profile, run.pk, run.digest, run.synthetic]) for row in rows
    )
    return answer

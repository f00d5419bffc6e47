"""What-if of a stored run: the question is put to what the run itself saw. Nothing is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from core.spreadsheets import safe_cell
from index.analysis.whatif import Answer, Place, Question, answer, read_question
from index.defining import tree_of, weights_of
from index.models import IndexRun
from index.regions import PROVINCES
from index.running.documents import method_of
from index.running.observed import read_seen

UNOFFICIAL = "unofficial"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A question with its answer; never official, and synthetic where the run is."""

    run: IndexRun
    question: Question
    answer: Answer

    @property
    def places(self) -> list[Place]:
        return self.answer.places


def what_if(run: IndexRun, given: Mapping[str, str]) -> WhatIf:
    """Invalid as `read_question`."""
    tree = tree_of(run.definition)
    question = read_question(tree, given)
    values, method = read_seen(run.read("inputs")).values, method_of(tree, run.parameters)
    return WhatIf(run, question, answer(tree, run.profile, weights_of(run.weights), values, method, question, run.read("result")))


def file_name(found: WhatIf) -> str:
    return f"what-if-{found.run.pk}-{UNOFFICIAL}{'-synthetic' if found.run.synthetic else ''}.csv"


def scores_csv(found: WhatIf) -> str:
    """A line per region, each saying that it is unofficial and whether generated values are in it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(
        ("region_code", "region", "rank", "score", "run_rank", "run_score", "gained", "official", "synthetic", "run", "asked")
    )
    asked = "&".join(f"{name}={value}" for name, value in found.question.asked.items())
    for place in found.places:
        told = (place.rank, text(place.score), place.rank_before, text(place.score_before), place.gained)
        marks = ("no", "yes" if found.run.synthetic else "no", found.run.digest, asked)
        writer.writerow(map(safe_cell, (place.region, PROVINCES[place.region].en, *told, *marks)))
    return out.getvalue()


def text(value: Decimal | None) -> str:
    """Nine places, as ranks are rounded to."""
    return "" if value is None else f"{value:.9f}"

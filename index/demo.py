"""What `make up` shows of the national profile: the sample statistics as they are, and generated values for what they lack."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from core.errors import Conflict
from index.defining import ensure_shipped, tree_of
from index.generating import KNOWN, generated
from index.importing.services import File, Source, commit, preview
from index.models import IndexDefinition, IndexRun, ObservationBatch, WeightSet
from index.running.series import Series, run_series
from index.running.services import Wanted, publish_edition, run_index

SAMPLE: Final = Path(__file__).parent / "data" / "provinces_2022.csv"
YEARS: Final = range(2013, 2023)
DRAWS: Final = 100


def fill(years: Sequence[int] = YEARS) -> IndexRun | None:
    """Import both, and publish the first edition. Done again, nothing is added."""
    definition = next(row for row in ensure_shipped() if row.code == "cpsdi-2023")
    content = SAMPLE.read_bytes()
    source = Source("Public statistics of the 31 provinces, 2022", "as each row says", published=date(2023, 6, 30))
    _import(File(SAMPLE.name, content, source))
    sizes = sizes_of(content)
    values = generated(tree_of(definition), years, sizes, {"gdp": sizes})
    _import(
        File("generated.csv", values, Source("Generated from a seed", "Gridfare", published=date(2023, 6, 30)), origin="synthetic")
    )
    return _edition(definition)


def fill_series(years: Sequence[int] = YEARS) -> list[IndexRun]:
    """A run of every year on the goalposts of the first edition's, so that there is a history. Done again, nothing is added.

    All but the last year is generated.
    """
    weights = WeightSet.objects.get(definition__code="cpsdi-2023", definition__version=1, kind="placeholder")
    return run_series(Series(weights, "national", [str(year) for year in years], str(KNOWN), draws=DRAWS))


def sizes_of(content: bytes) -> dict[str, float]:
    """The regions' gross product of the sample, in 100 million yuan."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    return {row["region_code"]: float(row["value"]) for row in rows if row["indicator"] == "gdp_revised"}


def _import(file: File) -> ObservationBatch | None:
    try:
        return commit(preview(file).pk)
    except Conflict:  # it is there
        return None


def _edition(definition: IndexDefinition) -> IndexRun | None:
    if IndexRun.objects.filter(definition=definition, profile="national", edition__isnull=False).exists():
        return None
    weights = WeightSet.objects.get(definition=definition, kind="placeholder")
    run = run_index(Wanted(weights, "national", "2022"))
    return publish_edition(run.pk, "The first edition: equal weights, generated values where no statistics are public")

"""Pick the best configuration, train it on all rows and report.

Writes `best_model.skops`, `report.json`, `report.html` and `plot.png`. The model is stored with skops and not
as a pickle, because whoever opens a pickle runs what its writer wanted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import data
import models
import numpy as np
import report
import skops.io
import train
from problems import BadInput, exit_code


def ranking(metric: str) -> list[dict[str, Any]]:
    """Every unit's metrics, best first; equal scores keep the order of the configurations."""
    found = [json.loads(path.read_text()) for path in sorted(Path("in/units").glob("*/metrics.json"))]
    if not found:
        raise BadInput("There are no metrics to compare.")
    return sorted(found, key=lambda one: -one[metric])


def describe(table: data.Table, ranked: list[dict[str, Any]], inputs: dict[str, Any]) -> dict[str, Any]:
    """The report as data."""
    return {
        "data": {
            "name": table.name,
            "rows": len(table.target),
            "columns": table.columns,
            "classes": table.classes,
        },
        "metric": inputs["metric"],
        "folds": inputs["folds"],
        "seed": inputs["seed"],
        "best": {"title": models.title(ranked[0]["configuration"]), **ranked[0]},
        "ranking": [
            {
                "rank": rank,
                "title": models.title(one["configuration"]),
                **{k: one[k] for k in one if k != "confusion"},
            }
            for rank, one in enumerate(ranked, 1)
        ],
    }


def main() -> None:
    """Write all results."""
    _, inputs = train.read_task()
    table = data.load(train.only_file(Path("in/data")), inputs)
    ranked = ranking(inputs["metric"])
    model = train.fitted(table, ranked[0]["configuration"], inputs["seed"], np.arange(len(table.target)))
    skops.io.dump(model, "best_model.skops")
    found = describe(table, ranked, inputs)
    Path("report.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    report.write_plot(found, Path("plot.png"))
    Path("report.html").write_text(report.page(found, Path("plot.png")))


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Cross-validate one configuration: writes `metrics.json`.

The folds depend on the seed alone, so all units of a task are compared on the same ones.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import data
import models
import numpy as np
from problems import BadInput, exit_code
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import StratifiedKFold

# The same as in manifest.yaml, for platforms that pass the inputs as they were given.
DEFAULTS: dict[str, Any] = {"folds": 5, "seed": 1, "ignore": [], "metric": "accuracy"}


def read_task() -> tuple[dict[str, Any], dict[str, Any]]:
    """task.json and its inputs with the defaults filled in."""
    task = json.loads(Path("task.json").read_text())
    given = {name: value for name, value in task["inputs"].items() if value is not None}
    return task, {**DEFAULTS, **given}


def only_file(folder: Path) -> Path | None:
    """The file of an optional input."""
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return found[0] if found else None


def cross_validate(table: data.Table, configuration: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Scores of each fold and the confusion matrix over all of them (rows: true, columns: predicted)."""
    splitter = StratifiedKFold(inputs["folds"], shuffle=True, random_state=inputs["seed"])
    folds, confusion = [], np.zeros((len(table.classes),) * 2, dtype=int)
    for number, (learn, check) in enumerate(splitter.split(table.features, table.target), 1):
        predicted = fitted(table, configuration, inputs["seed"], learn).predict(table.features[check])
        truth = table.target[check]
        folds.append(
            {
                "accuracy": round(float(accuracy_score(truth, predicted)), 6),
                "f1": round(float(f1_score(truth, predicted, average="macro", zero_division=0)), 6),
            }
        )
        confusion += confusion_matrix(truth, predicted, labels=range(len(table.classes)))
        Path("progress").write_text(f"{number / inputs['folds']:.4f}")
    return {"folds": folds, "confusion": confusion.tolist()}


def fitted(table: data.Table, configuration: dict[str, Any], seed: int, rows: np.ndarray) -> Any:
    """The configuration's pipeline, trained on some rows. Raises BadInput for what the model refuses."""
    model = models.build(table, configuration, seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(table.features[rows], table.target[rows])
    except (ValueError, TypeError) as error:
        raise BadInput(f"{models.title(configuration)}: {str(error).splitlines()[0][:300]}") from error


def summary(folds: list[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation of each score over the folds."""
    found = {}
    for name in ("accuracy", "f1"):
        values = [fold[name] for fold in folds]
        found[name] = round(float(np.mean(values)), 6)
        found[f"{name}_deviation"] = round(float(np.std(values)), 6)
    return found


def main() -> None:
    """Validate this unit's configuration."""
    task, inputs = read_task()
    table = data.load(only_file(Path("in/data")), inputs)
    configuration = task["params"]["item"]
    found = cross_validate(table, configuration, inputs)
    metrics = {"configuration": configuration, **summary(found["folds"]), **found}
    Path("metrics.json").write_text(json.dumps(metrics) + "\n")
    print(f"{models.title(configuration)}: accuracy {metrics['accuracy']:.4f}")


if __name__ == "__main__":
    sys.exit(exit_code(main))

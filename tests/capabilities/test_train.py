"""East data, west training: the best configuration, found the same way each time."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.capabilities import run_local
from tests.capabilities.conftest import CAPABILITIES, Deliver

FRUIT = CAPABILITIES / "train" / "tests" / "fruit.csv"
QUICK = [{"model": "neighbours", "parameters": {"n_neighbors": 3}}, {"model": "logistic"}]

LOAD = """
import json, sys, numpy, skops.io
model = skops.io.load(sys.argv[1], trusted=skops.io.get_untrusted_types(file=sys.argv[1]))
rows = numpy.array([[150.0, 7.2, "red"], [47.0, 4.0, "blue"], [float("nan"), 6.1, "yellow"]], dtype=object)
print(json.dumps(model.predict(rows).tolist()))
"""


def refusal(deliver: Deliver, text: str | bytes, **inputs: object) -> str:
    """What the user reads when a CSV file cannot be used."""
    with pytest.raises(run_local.UnitFailed) as failed:
        deliver("train", {"folds": 2, "configurations": QUICK[:1], **inputs}, data={"table.csv": text})
    assert failed.value.exit_code == 2
    assert failed.value.stderr.count("\n") == 1
    return failed.value.stderr


def test_a_sweep_ranks_refits_and_tells_how_to_load_the_model(deliver: Deliver) -> None:
    result = deliver("train", {"folds": 3, "target": "kind", "configurations": QUICK}, data=FRUIT)
    report = json.loads((result.folder / "report.json").read_text())
    scores = [one["accuracy"] for one in report["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.8
    python = str(run_local.environment(CAPABILITIES / "train"))
    words = [python, "-c", LOAD, str(result.folder / "best_model.skops")]
    answers = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert [report["data"]["classes"][answer] for answer in answers] == ["apple", "plum", "lemon"]


def test_the_same_seed_gives_the_same_report_and_picture(deliver: Deliver) -> None:
    configurations = [{"model": "forest", "parameters": {"n_estimators": 10}}]
    runs = [deliver("train", {"folds": 2, "configurations": configurations}) for _ in range(2)]
    for name in ("report.json", "report.html", "plot.png"):
        assert len({(run.folder / name).read_bytes() for run in runs}) == 1, name


def test_names_from_the_data_are_text_in_the_report(deliver: Deliver) -> None:
    text = FRUIT.read_text().replace("kind", "<script>").replace("lemon", "<b>lemon</b>")
    result = deliver("train", {"folds": 2, "target": "<script>", "configurations": QUICK[:1]}, data={"<i>.csv": text})
    assert "<i>" not in (result.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "inputs", "said"),
    [
        ("a,b\n1,x\n2,y\n", {}, "Name the target column"),
        ("a,b\n1,x\n2,y\n", {"target": "c"}, "no column 'c'; it has a, b"),
        ("a,b\n1,x\n2\n", {"target": "b"}, "Row 3 of table.csv has 1 values, the header has 2"),
        ("a,b\n1,x\n2,\n3,y\n", {"target": "b"}, "is empty in row 3"),
        ("a,a\n1,x\n2,y\n", {"target": "a"}, "empty or repeated name"),
        ("a,b\n", {"target": "b"}, "at least two rows"),
        (b"a,b\n\xff,x\n", {"target": "b"}, "not UTF-8"),
        ("a,b\n1,x\n2,x\n3,y\n", {"target": "b"}, "fewer than the 2 folds"),
        ("a,b\n1,x\n2,x\n", {"target": "b"}, "The target has 1 different values"),
        ("a,b\n" + "".join(f"w{n},{n % 2}\n" for n in range(60)), {"target": "b"}, "name it in `ignore`"),
        ("a,b\n" + "".join(f"{n},{n}.5\n" for n in range(60)), {"target": "b"}, "at most 50 classes"),
    ],
)
def test_a_bad_table_is_refused_in_a_sentence(deliver: Deliver, text: str | bytes, inputs: dict[str, object], said: str) -> None:
    assert said in refusal(deliver, text, **inputs)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"depth": 3}, "has no parameter 'depth'"), ({"n_neighbors": -1}, "neighbours n_neighbors=-1:")],
)
def test_a_bad_parameter_is_refused_in_a_sentence(deliver: Deliver, parameters: dict[str, int], said: str) -> None:
    configurations = [{"model": "neighbours", "parameters": parameters}]
    table = FRUIT.read_text()
    assert said in refusal(deliver, table, target="kind", configurations=configurations)

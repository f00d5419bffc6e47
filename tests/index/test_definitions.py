"""Trees are data: read, checked to the last name and unit, hashed by what they mean, compared."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from index.expressions import check, evaluate, parse
from index.trees import definition_of, differences, read_definition
from index.units import UNITS, convert, unit_of
from tests.index.builders_index import FOLDER, document, shipped


def test_the_shipped_tree_has_four_eleven_and_twentytwo_and_thirtyone_judgements() -> None:
    tree = shipped()
    levels = Counter(len(code) for code in tree.nodes)
    assert levels == {1: 4, 2: 11, 3: 22}
    assert len(tree.leaves("national")) == 22
    assert sum(len(below) * (len(below) - 1) // 2 for below in tree.groups().values()) == 31
    assert [len(below) for below in tree.groups().values() if len(below) > 2] == [4, 3, 4, 3, 3, 3]
    assert [node.code for node in tree.leaves("national") if node.direction < 0] == ["D21"]


def test_every_shipped_definition_can_be_read_and_has_its_own_hash() -> None:
    found = [read_definition(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]
    assert [f"{one.title}.yaml" for one in found] == sorted(path.name for path in FOLDER.glob("*.yaml"))
    assert len({one.digest for one in found}) == len(found) >= 2


def test_the_hash_is_of_the_meaning_and_not_of_the_spelling() -> None:
    text = (FOLDER / "supply-pulse@1.yaml").read_text()
    assert read_definition(text + "\n# a remark\n").digest == read_definition(text).digest
    assert read_definition(text.replace('"500"', '"501"')).digest != read_definition(text).digest


def test_the_difference_of_two_versions_names_places() -> None:
    before = document({"L0": "v0", "L1": "v1"})
    after = document({"L0": "v0", "L2": "v1"}, version=2)
    found = {place: (old, new) for place, old, new in differences(definition_of(before), definition_of(after))}
    assert found["version"] == (1, 2)
    assert found["nodes.L2"][0] is None
    assert found["nodes.L1"][1] is None


def changed(**changes: Any) -> dict[str, Any]:
    made = document({"L0": "v0", "L1": "v1"})
    made["nodes"][1] |= changes
    return made


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (changed(formula={"national": "v0 + nobody"}), "name_unknown", "nodes.1.formula.national"),
    (changed(formula={"national": "v0 * v1"}), "formula_units", "nodes.1.formula.national"),
    (changed(formula={"national": "v0 + 1"}), "formula_units", "nodes.1.formula.national"),
    (changed(formula={"national": "__import__('os')"}), "formula_invalid", "nodes.1.formula.national"),
    (changed(formula={"national": "L0"}), "formula_cycle", "formula"),
    (changed(formula={"national": "L1"}) | {}, "formula_cycle", "formula"),
    (changed(unit="parsec"), "definition_invalid", "nodes.1.unit"),
    (changed(code="L1"), "definition_invalid", "nodes.2.code"),
    (changed(parent="L1"), "definition_invalid", "nodes.1.parent"),
    (changed(formula={"platform": "v0"}), "definition_invalid", "nodes.1.formula"),
    (changed(goalposts=["5", "1"]), "definition_invalid", "nodes.1.goalposts"),
    (changed(goalposts=[1, 2]), "definition_invalid", "nodes.1.goalposts.0"),
    (document({"L0": "v0"}, groups=2), "definition_invalid", "nodes.1"),
    (document({"L0": "v0"}, more=1), "definition_invalid", ""),
    (document({"L0": "v0"}, version=0), "definition_invalid", "version"),
]


@pytest.mark.parametrize(("made", "code", "field"), WRONG)
def test_what_cannot_be_computed_is_refused_with_its_place(made: dict[str, Any], code: str, field: str) -> None:
    if code == "formula_cycle" and made["nodes"][1]["formula"]["national"] == "L1":
        made["nodes"][2]["formula"] = {"national": "L0"}
    with pytest.raises(Invalid) as error:
        definition_of(made)
    assert (error.value.code, error.value.field or "") == (code, field)


def test_what_is_no_yaml_or_no_object_is_refused() -> None:
    for text in ("a: [", "[]", "", "text", "!!python/object/apply:os.system [ls]"):
        with pytest.raises(Invalid, match="definition"):
            read_definition(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("-2 + 3", 1), ("8 / 2 / 2", 2), ("sum(1, 2, 3)", 6), ("min(2, 1) + max(1, 5)", 6),
     ("10 - 3 - 2", 5), ("a * 2", 8), ("sum(a)", 4), ("2 * -a", -8), ("1 / (a - 4)", None), ("b", None), ("1.5*2", 3)],
)  # fmt: skip
def test_formulas_compute(text: str, value: int | None) -> None:
    assert evaluate(parse(text), {"a": Decimal(4)}) == (None if value is None else Decimal(value))


@pytest.mark.parametrize(
    "text", ["", "1 +", "(1", "1)", "a b", "sum()", "1..2", "a.b", "a[0]", "'a'", "a ** 2", "*1", "sum(1", "1,2", "½", "lambda: 1"]
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(text)
    assert error.value.code == "formula_invalid"


def test_a_formula_is_neither_long_nor_deep() -> None:
    for text in ("(" * 50 + "1" + ")" * 50, "+".join(["1"] * 150), "-" * 60 + "1"):
        with pytest.raises(Invalid) as error:
            parse(text)
        assert error.value.code == "formula_invalid"
    assert evaluate(parse("+".join(["1"] * 90)), {}) == 90


@given(st.text(max_size=40))
def test_any_text_is_a_formula_or_is_refused(text: str) -> None:
    with suppress(Invalid):
        check(parse(text), {})


def test_units_convert_only_where_they_measure_the_same() -> None:
    assert convert(Decimal(2), unit_of("亿元"), unit_of("万元")) == 20_000
    assert convert(Decimal(3), unit_of("EFLOPS_FP32"), unit_of("PFLOPS_FP32")) == 3_000
    assert unit_of("flag (1 = scale above 10000 亿元)").code == "flag"
    for one, other in (("亿元", "万人"), ("EFLOPS", "EFLOPS_FP32"), ("件", "%")):
        with pytest.raises(Invalid) as error:
            convert(Decimal(1), unit_of(one), unit_of(other))
        assert error.value.code == "unit_mismatch"
    with pytest.raises(Invalid, match="parsec"):
        unit_of("parsec")
    assert {unit.code for unit in UNITS.values()} == set(UNITS)


def test_the_sample_statistics_have_units_of_the_table() -> None:
    with (FOLDER.parent / "data" / "provinces_2022.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 386
    assert {unit_of(row["unit"]).code for row in rows} >= {"CNY_100M", "count", "persons_10k", "percent"}

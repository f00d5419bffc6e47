"""A form from a schema, and inputs from a form."""

from __future__ import annotations

from typing import Any

import pytest

from console.forms import fields_of, inputs_of, kind_of
from core.errors import Invalid

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["argv", "title"],
    "properties": {
        "argv": {"type": "array", "items": {"type": "string"}},
        "title": {"type": "string"},
        "count": {"type": "integer", "default": 3},
        "zoom": {"type": "number"},
        "quick": {"type": "boolean", "default": True},
        "up": {"type": "string", "enum": ["z", "y"], "default": "y"},
        "level": {"enum": [1, 2, None]},
        "scene": {"type": "string", "format": "artifact"},
        "assets": {"type": "array", "items": {"type": "string", "format": "artifact"}},
        "env": {"type": "object", "default": {"A": "1"}},
    },
}


def made_of(values: dict[str, str], artifacts: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """The inputs of the form with these values filled in, and all else emptied."""
    fields = fields_of(SCHEMA)
    for one in fields:
        one.value = values.get(one.name, "")
    return inputs_of(fields, artifacts or {})


def test_required_fields_come_first_and_large_ones_last() -> None:
    names = [one.name for one in fields_of(SCHEMA)]
    assert names == ["title", "argv", "count", "level", "quick", "up", "zoom", "assets", "env", "scene"]


def test_defaults_stand_in_the_form() -> None:
    values = {one.name: one.value for one in fields_of(SCHEMA)}
    assert (values["count"], values["quick"], values["up"], values["env"]) == ("3", "on", '"y"', '{"A": "1"}')
    assert (values["title"], values["zoom"], values["argv"]) == ("", "", "")


def test_a_choice_without_a_default_may_be_left_open() -> None:
    level = next(one for one in fields_of(SCHEMA) if one.name == "level")
    assert level.choices == [("", "-"), ("1", "1"), ("2", "2"), ("null", "null")]


def test_what_was_filled_in_has_the_schema_s_types() -> None:
    given = {"argv": "sh\r\n-c\r\n echo \r\n\r\n", "title": "a film", "count": " 12 ", "zoom": "1e-2", "quick": "on"}
    given |= {"up": '"z"', "level": "null", "env": '{"B": "2"}'}
    assert made_of(given) == {
        "title": "a film",
        "argv": ["sh", "-c", " echo "],
        "count": 12,
        "zoom": 0.01,
        "quick": True,
        "up": "z",
        "level": None,
        "env": {"B": "2"},
    }


def test_what_was_left_empty_is_left_out_but_a_tick_is_yes_or_no() -> None:
    assert made_of({}) == {"quick": False}


def test_files_are_named_by_their_artifacts() -> None:
    made = made_of({}, {"scene": ["old", "new"], "assets": ["a", "b"]})
    assert (made["scene"], made["assets"]) == ("new", ["a", "b"])


@pytest.mark.parametrize("text", ["abc", "1.5", "1" * 5000, "0x10", "１２ x"])
def test_what_is_no_whole_number_stays_text_for_the_schema_to_judge(text: str) -> None:
    assert made_of({"count": text})["count"] == text


@pytest.mark.parametrize("text", ["nan", "inf", "1,5", "1e9999"])
def test_what_is_no_number_stays_text_for_the_schema_to_judge(text: str) -> None:
    assert made_of({"zoom": text})["zoom"] == text


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": "\\ud800"}'])
def test_what_is_no_json_is_said_at_its_field(text: str) -> None:
    with pytest.raises(Invalid) as error:
        made_of({"env": text})
    assert error.value.field == "inputs.env"


NUMBERS = {"type": "array", "items": {"type": "number"}}


@pytest.mark.parametrize("schema", [{}, {"type": ["string", "null"]}, {"$ref": "#/$defs/x"}, NUMBERS])
def test_what_no_form_can_draw_is_json(schema: dict[str, Any]) -> None:
    assert kind_of(schema) == "json"

"""Any command, once or many times."""

from __future__ import annotations

import pytest

from tests.capabilities import run_local
from tests.capabilities.conftest import Deliver


def test_each_unit_knows_its_number(deliver: Deliver) -> None:
    inputs = {"argv": ["sh", "-c", "echo {index} > out-{index}.txt"], "count": 3, "outputs": ["out-*.txt"]}
    result = deliver("command", inputs)
    assert result.paths == ["000000/out-0.txt", "000001/out-1.txt", "000002/out-2.txt"]


def test_files_and_variables_reach_the_command(deliver: Deliver) -> None:
    inputs = {
        "argv": ["sh", "-c", 'grep "$WORD" in/files/a.txt > hit'],
        "env": {"WORD": "west"},
        "outputs": ["hit"],
    }
    result = deliver("command", inputs, files={"a.txt": "east\nwest\n"})
    assert (result.folder / result.paths[0]).read_text() == "west\n"


def test_other_braces_stay_as_they_are(deliver: Deliver) -> None:
    inputs = {"argv": ["awk", 'BEGIN {print 2 > "sum"}'], "outputs": ["sum"]}
    assert deliver("command", inputs).paths == ["000000/sum"]


def test_an_output_that_was_asked_for_must_be_there(deliver: Deliver) -> None:
    with pytest.raises(run_local.UnitFailed, match="no file matches result"):
        deliver("command", {"argv": ["true"], "outputs": ["result"]})


def test_a_failing_command_fails_its_unit(deliver: Deliver) -> None:
    with pytest.raises(run_local.UnitFailed) as failed:
        deliver("command", {"argv": ["sh", "-c", "echo broken >&2; exit 3"]})
    assert (failed.value.exit_code, failed.value.stderr) == (3, "broken\n")

"""An export of the ledger is checked by other code than the platform's, without it: every lie is found and named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger.export import ndjson
from billing.ledger.sealing import seal_all
from billing.services import charge_task
from gridfare.ledger import Proved, Refuted, verify
from marketplace.models import Organization
from tests.billing.test_seals import post
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage

pytestmark = pytest.mark.django_db
ANY: Any = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def market(db: None) -> Market:
    """Two blocks: alice's tasks at bob's pool with carol's program, and entries of the platform's own."""
    market = make_market()
    for key in ("first", "second"):
        task = make_task(market)
        make_usage(market, task, make_attempt(market, task, make_need()))
        assert charge_task(task.pk)
        post(key, 7)
        seal_all()
    return market


def export(reader: Organization | None = None) -> list[bytes]:
    return b"".join(ndjson(reader)).splitlines(keepends=True)


def refuted(lines: list[bytes]) -> str:
    with pytest.raises(Refuted) as error:
        verify(lines)
    return str(error.value)


def types(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["type"] for line in lines]


def test_a_whole_export_is_proved(market: Market) -> None:
    lines = export()
    assert types(lines)[:4] == ["ledger", "seal", "entry", "entry"]
    proved = verify(lines)
    assert (proved.organization, proved.seals, proved.entries) == (None, 2, 4)
    assert sum(debit - credit for debit, credit in proved.balances.values()) == 0
    assert proved.hash == json.loads(lines[-1])["hash"]


def test_an_empty_ledger_is_proved_too(db: None) -> None:
    assert verify(export()) == Proved(None)


@pytest.mark.parametrize("who", ["alice", "bob", "carol"])
def test_an_organizations_export_proves_its_own_and_hides_the_rest(market: Market, who: str) -> None:
    organization = getattr(market, who)
    lines = export(organization)
    proved = verify(lines)
    assert (proved.organization, proved.entries, len(proved.balances)) == (organization.pk, 2, 1)
    entries = [json.loads(line) for line in lines if b'"type":"entry"' in line]
    shown = [leg for entry in entries for leg in entry["legs"] if "leg" in leg]
    assert {leg["organization"] for leg in shown} == {organization.pk}
    assert b'"salt"' not in b"".join(lines)


def test_a_stranger_gets_the_chain_alone(market: Market) -> None:
    lines = export(Organization.objects.create(slug="mallory", name="Mallory"))
    assert types(lines) == ["ledger", "seal", "seal", "end"]
    assert verify(lines).hash == verify(export()).hash


def test_the_first_entry_that_was_changed_is_named(market: Market) -> None:
    lines = export()
    index, entry = next((i, json.loads(line)) for i, line in enumerate(lines) if b'"second"' in line)
    lines[index] = lines[index].replace(b'"debit":7', b'"debit":8')
    assert refuted(lines) == (
        f"line {index + 1}: entry {entry['position']} (second) does not have the digest that it says: something in it was changed"
    )


def test_a_removed_entry_is_named(market: Market) -> None:
    lines = export()
    assert "entry 1 is missing" in refuted(lines[:2] + lines[3:])
    assert "entry 2 of seal 1 is missing" in refuted(lines[:3] + lines[4:])


def test_a_reordered_entry_is_named(market: Market) -> None:
    lines = export()
    lines[2], lines[3] = lines[3], lines[2]
    assert refuted(lines) == "line 3: entry 1 is missing: entry 2 (first) follows too early"


def test_a_file_that_breaks_off_anywhere_is_refused(market: Market) -> None:
    whole = b"".join(export())
    lines = whole.splitlines(keepends=True)
    for kept in range(len(lines)):
        assert "breaks off" in refuted(lines[:kept])
    assert "line 3: " in refuted(whole[: whole.index(b'"entry"') + 40].splitlines(keepends=True))


def test_a_removed_seal_and_a_balance_made_up_are_named(market: Market) -> None:
    lines = export()
    second = [i for i, kind in enumerate(types(lines)) if kind == "seal"][1]
    assert "seal 2 does not follow seal 0" in refuted([lines[0], *lines[second:]])
    index = types(lines).index("balance")
    balance = json.loads(lines[index])
    lines[index] = json.dumps(balance | {"debit": balance["debit"] + 1}).encode() + b"\n"
    assert f"the balance of account {balance['account']} up to seal 1 is not the sum" in refuted(lines)


def test_a_forged_digest_is_still_refuted_by_the_block(market: Market) -> None:
    from gridfare.ledger.hashing import blind_of, entry_digest, leg_digest

    lines = export()
    salt = bytes.fromhex(json.loads(lines[1])["salt"])
    entry = json.loads(lines[3]) | {"memo": "forged"}
    legs = [leg_digest(leg, blind_of(salt, "leg", leg["leg"])) for leg in entry["legs"]]
    entry["digest"] = entry_digest(entry, legs).hex()
    lines[3] = json.dumps(entry).encode() + b"\n"
    assert "the entries 1 to 2 are not those of seal 1" in refuted(lines)


def test_a_forged_path_of_an_organization_is_refuted(market: Market) -> None:
    lines = export(market.alice)
    entry = json.loads(lines[2])
    entry["path"][0] = "0" * 64
    lines[2] = json.dumps(entry).encode() + b"\n"
    assert "does not lead to the root of seal 1" in refuted(lines)


def test_a_seal_known_from_elsewhere_must_be_in_the_chain(market: Market) -> None:
    lines = export()
    first = json.loads(lines[1])["hash"]
    assert verify(lines, expected=first.upper()).seals == 2
    with pytest.raises(Refuted, match="no seal of this ledger"):
        verify(lines, expected="0" * 64)


@pytest.mark.parametrize("who", [None, "bob"])
def test_no_single_byte_can_be_changed(market: Market, who: str | None) -> None:
    whole = b"".join(export(getattr(market, who) if who else None))

    def flip(index: int, change: int) -> None:
        changed = bytearray(whole)
        changed[index] ^= change
        refuted(bytes(changed).splitlines(keepends=True))

    ANY(given(st.integers(0, len(whole) - 1), st.integers(1, 255))(flip))()


def test_it_needs_neither_django_nor_a_network(market: Market, tmp_path: Path) -> None:
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(b"".join(export()))
    program = """
import socket, sys
socket.socket = None
from gridfare.ledger import verify
print(verify(open(sys.argv[1], "rb")).entries, "django" in sys.modules, "httpx" in sys.modules)
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program, str(file)], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False", "False"]

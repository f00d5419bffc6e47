"""Exports in the console: asked for by months, seen in progress, fetched; what is refused is told at the form."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Export
from console.exports import window
from tests import builders as build
from tests.builders_exports import an_export
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
ASKED = {"kind": "usage", "format": "csv", "party": "", "first": "2026-03", "last": "2026-12"}


def send(who: build.Person, **more: str) -> Any:
    return browser_of(who).post("/exports/", ASKED | more)


def test_months_are_asked_for_and_their_file_is_fetched() -> None:
    alice = build.alice("billing")
    assert send(alice).status_code == 302
    page = browser_of(alice).get("/exports/")
    assert ("2026-03-01 to 2026-12-31" in text_of(page), "ready" in text_of(page)) == (True, True)
    found = re.search(r'href="(/api/v1/exports/[^"]+/file)"', page.content.decode())
    assert found is not None
    assert browser_of(alice).get(found[1]).status_code == 200
    assert browser_of(build.mallory()).get(found[1]).status_code == 404
    assert found[1] not in browser_of(build.mallory()).get("/exports/").content.decode()
    assert found[1] in browser_of(build.olga()).get("/exports/").content.decode()


def test_what_cannot_be_exported_is_told_at_the_form_and_makes_nothing() -> None:
    alice = build.alice()
    for wrong in ({"first": "2026-13"}, {"last": ""}, {"first": "2027-02"}, {"format": "messages"}, {"kind": "x"}):
        refused = send(alice, **wrong)
        assert (refused.status_code, 'role="alert"' in refused.content.decode()) == (422, True), wrong
    assert send(alice, party="all").status_code == 403
    assert not Export.objects.exists()
    assert send(build.olga(), party="all").status_code == 302


def test_how_far_an_export_is_and_why_it_failed_is_seen() -> None:
    alice = build.alice()
    an_export(alice.organization, "failed")
    running = an_export(alice.organization, "running", kind="usage")
    Export.objects.filter(pk=running.pk).update(rows=3, estimated=12)
    page = browser_of(alice).get("/exports/")
    assert '<progress value="3" max="12"' in page.content.decode()
    assert ("3 of about 12" in text_of(page), "broken" in text_of(page)) == (True, True)


def test_the_page_looks_again_while_an_export_is_written_and_not_while_a_form_is_being_mended() -> None:
    alice, again = build.alice(), 'http-equiv="refresh"'
    an_export(alice.organization, "failed")
    assert again not in browser_of(alice).get("/exports/").content.decode()
    an_export(alice.organization, "running", kind="usage")
    assert again in browser_of(alice).get("/exports/").content.decode()
    assert again not in browser_of(alice).post("/exports/", {"kind": "usage", "first": "?"}).content.decode()


def test_more_exports_cost_no_more_statements() -> None:
    alice, counts = build.alice(), []
    client: Any = browser_of(alice)
    for kind in ("usage", "charges", "ledger"):
        an_export(alice.organization, "ready", kind=kind, party="")
        with CaptureQueriesContext(connection) as asked:
            assert client.get("/exports/").status_code == 200
        counts.append(len(asked))
    assert counts[1] == counts[2]


def test_months_become_days() -> None:
    assert window("2026-03", "2026-03") == {"from": "2026-03-01", "to": "2026-04-01"}
    assert window("2026-03", "2026-12") == {"from": "2026-03-01", "to": "2027-01-01"}

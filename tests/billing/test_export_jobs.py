"""Large exports are jobs: states, leases, progress; killed anywhere they converge, and what is over goes away."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from billing.exports import running
from billing.exports.requesting import MOST_OPEN
from billing.exports.running import TRIES, run_now, run_waiting, sweep_exports
from billing.exports.states import MOVES, may_move
from billing.models import Export
from core.errors import Invalid
from marketplace import spool
from marketplace.models import WebhookEndpoint, WebhookEvent
from tests import builders as build
from tests.billing.test_invoice_guards import refused
from tests.builders_billing import Market
from tests.builders_exports import a_charged_task, an_export, asked, fetched, rows_in, the_casts_market

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def market() -> Market:
    return the_casts_market()


@pytest.fixture
def _large(settings: Any) -> None:
    """Nothing is so small that the request writes it."""
    settings.EXPORT_AT_ONCE_ROWS = -1


def files() -> list[str]:
    return sorted(default_storage.listdir("exports")[1]) if default_storage.exists("exports") else []


def stored_of(export: Export) -> list[str]:
    return [name for name in files() if name.startswith(str(export.pk))]


def expire_lease(export: Export) -> None:
    Export.objects.filter(pk=export.pk).update(lease_until=timezone.now() - HOUR)


@pytest.mark.usefixtures("_large")
def test_a_large_export_is_answered_at_once_and_written_by_a_job(market: Market) -> None:
    a_charged_task(market, 3)
    answer = asked(build.alice(), "charges")
    assert (answer.status_code, answer.json()["state"]) == (202, "requested")
    url = f"/api/v1/exports/{answer.json()['id']}"
    early = build.client_of(build.alice()).get(f"{url}/file")
    assert (early.status_code, early.json()["code"], early.json()["state"]) == (409, "export_not_ready", "requested")
    assert run_waiting(60) == 1
    document = build.client_of(build.alice()).get(url).json()
    assert (document["state"], document["rows"]) == ("ready", 3)
    assert len(rows_in(fetched(build.alice(), answer))) == 3
    assert run_waiting(60) == 0


@pytest.mark.usefixtures("_large")
def test_the_same_question_is_the_same_export_while_it_is_open() -> None:
    first, again, other = (asked(build.alice(), kind).json() for kind in ("charges", "charges", "usage"))
    assert first["id"] == again["id"] != other["id"]
    assert asked(build.mallory(), "charges").json()["id"] != first["id"]
    run_waiting(60)
    assert asked(build.alice(), "charges").json()["id"] != first["id"]


@pytest.mark.usefixtures("_large")
def test_an_organization_waits_for_one_of_ten() -> None:
    for number in range(MOST_OPEN):
        assert asked(build.alice(), "charges", **{"from": f"20{number + 10}-01-01"}).status_code == 202
    refusal = asked(build.alice(), "charges")
    assert (refusal.status_code, refusal.json()["code"]) == (403, "too_many_exports")
    assert asked(build.mallory(), "charges").status_code == 202


def test_progress_is_told_while_rows_are_written_and_renews_the_lease(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_TELL_EVERY", 0.0)
    export = an_export(market.alice)
    claimed = running._claim(export.pk)
    assert claimed is not None
    expire_lease(claimed)
    flow = running._told(claimed, ({"charge": number} for number in range(2500)))
    for _ in range(1001):
        next(flow)
    claimed.refresh_from_db()
    assert claimed.rows == 1000
    assert claimed.lease_until is not None
    assert claimed.lease_until > timezone.now()


def test_a_small_export_is_expected_to_the_row_and_a_large_one_by_the_planner(market: Market, settings: Any) -> None:
    a_charged_task(market, 4)
    assert an_export(market.alice, now=timezone.now() + HOUR).estimated == 4
    settings.EXPORT_AT_ONCE_ROWS = 2
    estimated = an_export(market.alice, now=timezone.now() + 2 * HOUR).estimated
    assert estimated is not None
    assert estimated >= 3


@pytest.mark.parametrize("broken", ["write", "keep_file", "tell_export"])
def test_a_writer_that_is_killed_is_followed_by_another_that_makes_the_same_file(
    market: Market, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    a_charged_task(market, 2)
    export = an_export(market.alice, now=timezone.now() + HOUR)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):

        def killed_here(*_: Any, **__: Any) -> Any:
            if broken == "tell_export":
                assert stored_of(export)  # the file is there, and nobody knows of it
            raise KeyboardInterrupt

        killed.setattr(running.storage if broken == "keep_file" else running, broken, killed_here)
        run_now(export)
    export.refresh_from_db()
    assert (export.state, export.tries) == ("running", 1)
    assert run_waiting(60) == 0  # its lease still stands
    expire_lease(export)
    assert run_waiting(60) == 1
    export.refresh_from_db()
    assert (export.state, export.tries, export.rows) == ("ready", 2, 2)
    assert stored_of(export) == [f"{export.pk}-2"]
    assert not list(spool.folder().glob(f"export-{export.pk}*"))


def test_who_lost_the_lease_can_no_longer_finish_and_leaves_no_file(market: Market, tmp_path: Path) -> None:
    export = an_export(market.alice)
    slow = running._claim(export.pk)
    assert slow is not None
    expire_lease(slow)
    assert run_waiting(60) == 1
    running._run(slow)
    export.refresh_from_db()
    assert (export.state, export.tries) == ("ready", 2)
    assert stored_of(export) == [f"{export.pk}-2"]


def test_what_goes_wrong_is_tried_again_and_given_up_in_the_end(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    export = an_export(market.alice)
    monkeypatch.setattr(running, "write", lambda *_: 1 / 0)
    for number in range(1, TRIES + 1):
        expire_lease(export)
        assert run_waiting(60) == 1
        export.refresh_from_db()
        assert export.tries == number
    assert (export.state, export.reason) == ("failed", "given up after 5 tries; the last ended with ZeroDivisionError")
    assert run_waiting(60) == 0


def test_what_was_killed_too_often_is_given_up_by_the_sweep(market: Market) -> None:
    export = an_export(market.alice)
    for _ in range(TRIES):
        assert running._claim(export.pk) is not None
        expire_lease(export)
    assert running._claim(export.pk) is None
    sweep_exports()
    export.refresh_from_db()
    assert (export.state, export.reason) == ("failed", "given up after 5 tries, each of which broke off")


def test_what_can_never_be_written_fails_at_once_with_the_reason(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any) -> Any:
        raise Invalid("number_too_large", "Parquet cannot hold it")

    monkeypatch.setattr(running, "write", too_large)
    export = run_now(an_export(market.alice))
    assert (export.state, export.reason, export.tries) == ("failed", "number_too_large: Parquet cannot hold it", 1)


def test_a_number_beyond_parquet_fails_as_parquet_and_is_written_as_csv(market: Market) -> None:
    from tests.builders_usage import an_event, sent

    sent(market.pool, an_event(market.pool, market.alice, quantity="9" * 30))
    answer = asked(build.alice(), "usage", format="parquet").json()
    assert (answer["state"], answer["reason"].split(":")[0]) == ("failed", "number_too_large")
    [row] = rows_in(fetched(build.alice(), asked(build.alice(), "usage")))
    assert row["quantity"] == f"{'9' * 30}.0"


def test_two_jobs_write_at_a_time_and_the_others_wait(market: Market) -> None:
    for number in range(running.AT_A_TIME):
        running._claim(an_export(market.alice, now=timezone.now() + number * HOUR).pk)
    an_export(market.alice, now=timezone.now() + 9 * HOUR)
    assert run_waiting(60) == 0
    expire_lease(Export.objects.earliest("id"))
    assert run_waiting(60) == 2


def test_a_file_goes_when_its_time_is_over_and_the_export_says_so(market: Market) -> None:
    export = an_export(market.alice, "ready")
    owner = build.client_of(build.alice())
    sweep_exports()
    assert stored_of(export)
    with pytest.MonkeyPatch.context() as later:
        later.setattr(timezone, "now", lambda real=timezone.now: real() + timedelta(days=8))
        assert owner.get(f"/api/v1/exports/{export.pk}/file").json()["code"] == "export_expired"
        assert sweep_exports() == 1
        assert sweep_exports() == 0
    assert not stored_of(export)
    gone = owner.get(f"/api/v1/exports/{export.pk}/file")
    assert (gone.status_code, gone.json()["code"]) == (404, "export_expired")
    assert owner.get(f"/api/v1/exports/{export.pk}").json()["state"] == "expired"


def test_who_listens_is_told_how_an_export_ended_once(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    WebhookEndpoint.objects.create(organization=market.alice, url="https://example.com/hook", types=["export.*"])
    ready = an_export(market.alice, "ready")
    monkeypatch.setattr(running, "write", lambda *_: (_ for _ in ()).throw(Invalid("number_too_large", "no")))
    run_now(an_export(market.alice, now=timezone.now() + HOUR))
    an_export(None, "ready", now=timezone.now() + HOUR)
    told = list(WebhookEvent.objects.order_by("number").values_list("type", "data__rows", "data__sha256"))
    assert told == [("export.ready", 0, ready.sha256), ("export.failed", 0, "")]


@pytest.mark.parametrize(("before", "after"), list(permutations(MOVES, 2)))
def test_an_export_makes_exactly_the_moves_that_are_drawn(market: Market, before: str, after: str) -> None:
    export = an_export(market.alice, before)
    now = timezone.now()
    fields: dict[str, Any] = {"state": after}
    if before in {"requested", "running"}:
        fields |= {"lease_until": now, "ended_at": None if after in {"requested", "running"} else now}
        fields |= {"sha256": "0" * 64, "bytes": 0, "expires_at": now, "reason": "broken"}
    assert refused(lambda: Export.objects.filter(pk=export.pk).update(**fields)) is not may_move(before, after)


@pytest.mark.parametrize("change", [{"kind": "usage"}, {"party": "all"}, {"organization": None}, {"key": "1"}])
def test_an_export_says_for_ever_what_it_is_of(market: Market, change: dict[str, Any]) -> None:
    export = Export.objects.filter(pk=an_export(market.alice).pk)
    assert refused(lambda: export.update(**change), "refused")


def test_what_is_ready_keeps_its_digest_and_failed_says_why(market: Market) -> None:
    ready = Export.objects.filter(pk=an_export(market.alice, "ready").pk)
    assert refused(lambda: ready.update(sha256="1" * 64), "refused")
    running_one = Export.objects.filter(pk=an_export(market.alice, "running", now=timezone.now() + HOUR).pk)
    assert refused(lambda: running_one.update(state="failed", ended_at=timezone.now()), "export_failed_says_why")
    assert refused(lambda: running_one.update(state="ready", ended_at=timezone.now()), "export_ready_has_a_file")

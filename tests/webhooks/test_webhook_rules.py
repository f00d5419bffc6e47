"""What is decided without a database: signatures, when to try again, what an answer means, which types there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from marketplace.webhooks.retrying import judge, wait_after
from marketplace.webhooks.signing import new_secret, seal, signature_of, signed_headers, unseal
from marketplace.webhooks.types import EventType, declare, declared, is_type, unknown_wishes

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
# The test vector that the libraries of Standard Webhooks share.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, PAYLOAD = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector_is_signed_as_published() -> None:
    assert signature_of(SECRET, MESSAGE, AT, PAYLOAD) == SIGNATURE


def test_every_living_secret_signs_the_newest_first() -> None:
    other = new_secret()
    headers = signed_headers([other, SECRET], MESSAGE, AT, PAYLOAD)
    assert headers["webhook-signature"] == f"{signature_of(other, MESSAGE, AT, PAYLOAD)} {SIGNATURE}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (MESSAGE, str(AT))


def test_secrets_are_new_each_time_and_of_256_bits() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(first) == len("whsec_") + 44


def test_a_stored_secret_tells_nothing_and_opens_with_the_key_it_was_stored_under() -> None:
    secret = new_secret()
    sealed = seal(secret)
    assert secret.removeprefix("whsec_") not in sealed
    assert unseal(sealed) == secret
    with override_settings(SECRET_KEY="another" * 10):
        assert unseal(sealed) is None
    with override_settings(SECRET_KEY="another" * 10, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert unseal(sealed) == secret


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_to_an_hour_and_never_beyond(tries: int, chance: float) -> None:
    wait = wait_after(tries, chance)
    longest = min(timedelta(seconds=5 * 2 ** min(tries - 1, 20)), timedelta(hours=1))
    assert longest / 2 <= wait <= longest


def test_a_receiver_may_ask_for_patience_up_to_an_hour() -> None:
    assert wait_after(1, 0.0, "600", 503) == timedelta(minutes=10)
    assert wait_after(1, 0.0, "9999999", 429) == timedelta(hours=1)
    assert wait_after(1, 1.0, "600", 500) == timedelta(seconds=5), "an answer that asks for none"
    for odd in ("", "-5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999", "²"):
        assert wait_after(1, 1.0, odd, 503) == timedelta(seconds=5)


def verdict(status: int | None, *, hours: float = 0, days_failing: float = 0) -> tuple[str, bool]:
    """(state, turned off) of a delivery first tried so long ago, of an endpoint that has failed so long."""
    since = NOON - timedelta(days=days_failing)
    found = judge(status=status, now=NOON, tries=3, first_tried_at=NOON - timedelta(hours=hours), failing_since=since, chance=0.5)
    return found.state, bool(found.disables)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_only_2xx_is_a_receipt(status: int) -> None:
    assert verdict(status, hours=30, days_failing=5) == ("delivered", False)


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 400, 404, 429, 500, 503])
def test_all_else_is_tried_again_for_a_day(status: int | None) -> None:
    assert verdict(status) == ("pending", False)
    assert verdict(status, hours=23.99) == ("pending", False)
    assert verdict(status, hours=24) == ("given_up", False)


def test_an_endpoint_is_turned_off_when_nothing_reached_it_for_three_days() -> None:
    assert verdict(500, hours=25, days_failing=2.9) == ("given_up", False)
    assert verdict(500, hours=25, days_failing=3) == ("given_up", True)
    assert verdict(500, hours=5, days_failing=9) == ("pending", False), "not before one is given up"


def test_410_gone_turns_it_off_at_once() -> None:
    assert verdict(410) == ("given_up", True)


@given(st.lists(st.floats(0, 1), min_size=40, max_size=60))
def test_whoever_is_down_for_a_day_is_asked_once_more_after_it(chances: list[float]) -> None:
    now = first = NOON
    tries = 0
    while now - first < timedelta(hours=24):
        tries += 1
        found = judge(
            status=None, now=now, tries=tries, first_tried_at=first, failing_since=first, chance=chances[tries % len(chances)]
        )
        assert found.state == "pending"
        assert now < found.due_at <= now + timedelta(hours=1)
        now = found.due_at
    assert 24 <= tries < 80


def test_types_are_families_and_names() -> None:
    assert all(is_type(one.name) for one in declared())
    for odd in ("task", "task.", "task.Delivered", "tasks.delivered", "task delivered", "task.delivered\n", f"task.{'x' * 70}", ""):
        assert not is_type(odd)
        with pytest.raises(ValueError, match="no"):
            declare([EventType(odd, "", {})])


def test_an_endpoint_may_wish_for_everything_a_family_or_what_is_declared() -> None:
    assert unknown_wishes(["*", "invoice.*", "task.delivered"]) == []
    assert unknown_wishes(["task.deliverd", "tasks.*", "**", "task.*.*"]) == ["**", "task.*.*", "task.deliverd", "tasks.*"]

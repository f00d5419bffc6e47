"""For those who receive webhooks: is this request from the platform, and has it not been changed or sent long ago?

from gridfare.webhooks import verify_webhook

event = verify_webhook(request.headers, request.body, secret)      # raises WebhookRefused
if event["type"] == "task.delivered":
    ...

The scheme is Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). Give the body's raw bytes, not what a framework made of
them. Deliveries come at least once: keep `webhook-id` for a while, and do nothing the second time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gridfare.sdk.errors import GridfareError

TOLERANCE_S: Final = 300
_PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a secret


class WebhookRefused(GridfareError):
    """Not to be trusted. `code`: header_missing, timestamp_invalid, timestamp_outside, signature_invalid or payload_invalid."""


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """The event of a request, once its signature and its age are right: `{type, timestamp, data}`.

    headers      the request's; names in any case
    body         the raw bytes of its body
    secret       `whsec_...`, or several while they are rotated
    tolerance_s  how many seconds the sender's clock may be off, either way
    now          Unix seconds, for tests

    Raises WebhookRefused; ValueError for a secret that is none.
    """
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    message, sent, signatures = _three_headers(headers)
    age = (time.time() if now is None else now) - _seconds(sent)
    if abs(age) > tolerance_s:
        raise WebhookRefused("timestamp_outside", f"it was sent {age:.0f} seconds ago; at most {tolerance_s:g} are allowed")
    if not any(_matches(key, message, sent, body, signatures) for key in keys):
        raise WebhookRefused("signature_invalid", "no signature fits: another secret, or the body was changed")
    return _event(body)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret is whsec_ and base64") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"a secret has {_SHORTEST} to {_LONGEST} bytes, this one {len(key)}")
    return key


def _three_headers(headers: Mapping[str, str]) -> tuple[str, str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    for name in names:
        if not given.get(name):
            raise WebhookRefused("header_missing", f"the request has no {name}", field=name)
    return given[names[0]], given[names[1]], given[names[2]]


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise WebhookRefused("timestamp_invalid", "webhook-timestamp is no whole number of seconds", field="webhook-timestamp")
    return int(text)


def _matches(key: bytes, message: str, sent: str, body: bytes, signatures: str) -> bool:
    """In constant time for each signature. Versions that are not known are passed over."""
    signed = hmac.new(key, f"{message}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(signed)
    return any(hmac.compare_digest(expected, one.encode("utf-8", "replace")) for one in signatures.split(" "))


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        raise WebhookRefused("payload_invalid", "the body is not JSON") from None
    if not isinstance(event, dict):
        raise WebhookRefused("payload_invalid", "the body is no JSON object")
    return event

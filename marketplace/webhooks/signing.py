"""Signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), the symmetric kind.

Signed is `{id}.{timestamp}.{payload}` with HMAC-SHA256; the header is `v1,` and base64, one for each secret that is alive, with
spaces between. A secret is `whsec_` and base64 of 24 to 64 bytes. The platform must know secrets to sign with them, so that
hashing them is no way to keep them: they are stored encrypted (Fernet) under a key that follows from the platform's secret key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> str:
    """A fresh secret, 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signature_of(secret: str, message: str, timestamp: int, payload: bytes) -> str:
    """`v1,` and the signature. ValueError for a secret that is none."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = hmac.new(key, f"{message}.{timestamp}.".encode() + payload, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def signed_headers(living: Iterable[str], message: str, timestamp: int, payload: bytes) -> dict[str, str]:
    """The three headers of the standard; `living` are all secrets in force, the newest first."""
    signatures = (signature_of(secret, message, timestamp, payload) for secret in living)
    return {"webhook-id": message, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(signatures)}


def seal(secret: str) -> str:
    """A secret as it is stored."""
    return _fernets()[0].encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str | None:
    """A stored secret; None when it was stored under a secret key that the platform does not know any more."""
    for fernet in _fernets():
        try:
            return fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            continue
    return None


def _fernets() -> list[Fernet]:
    keys = (str(key).encode() for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return [Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"gridfare webhooks\x00" + key).digest())) for key in keys]

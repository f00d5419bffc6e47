"""Identifiers: UUIDv7 (sorted by time, so indexes stay warm) and identifiers with a check digit."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U


def uuid7() -> UUID:
    """A new time-ordered UUID."""
    return _uuid7()


def check_character(text: str) -> str:
    """ISO 7064 MOD 37-2 style check character over letters and digits (separators are skipped).

    Catches every single wrong character and every swap of two neighbours.
    """
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
    total = 0
    for char in text.upper():
        if char in alphabet[:36]:
            total = (total + alphabet.index(char)) * 2 % 37
    return alphabet[(38 - total) % 37]


def base32(number: int, width: int) -> str:
    """A non-negative number in Crockford's base 32, padded with zeros to `width` characters."""
    digits = ""
    while number or len(digits) < width:
        number, digit = divmod(number, 32)
        digits = _BASE32[digit] + digits
    return digits

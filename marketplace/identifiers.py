"""算力标识: the identifier of a pool, `<region>-<kind>-<serial>-<check>`, for example `640000-G-00001A-T`.

region  the six digits of GB/T 2260; a region without a code gets `X` and its number
kind    G general 通用, I intelligent 智算, S super 超算, C community 社会闲散
serial  Crockford's base 32 of a number that is never used twice
check   a character over all others: one wrong character or two swapped neighbours are noticed
"""

from __future__ import annotations

import re
from typing import Final

from core.ids import base32, check_character

LETTER_OF_KIND: Final = {"general": "G", "intelligent": "I", "super": "S", "community": "C"}
PATTERN: Final = r"(?:\d{6}|X\d{5})-[GISC]-[0-9A-HJKMNP-TV-Z]{6,10}-[0-9A-Z]"
_WHOLE: Final = re.compile(PATTERN)
_SERIAL_WIDTH: Final = 6


def region_part(gb_code: str | None, number: int) -> str:
    """The first part: the GB/T 2260 code, or for a region outside of it its own number (below 100,000)."""
    return gb_code or f"X{number:05d}"


def pool_identifier(region: str, kind: str, serial: int) -> str | None:
    """The identifier, or None when this serial's check character would be `*`: then take the next serial."""
    body = f"{region}-{LETTER_OF_KIND[kind]}-{base32(serial, _SERIAL_WIDTH)}"
    check = check_character(body)
    return None if check == "*" else f"{body}-{check}"


def is_identifier(text: str) -> bool:
    """Whether the text has the shape of an identifier and its check character is right."""
    return bool(_WHOLE.fullmatch(text)) and check_character(text[:-2]) == text[-1]

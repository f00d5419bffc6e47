"""Documents as the text they were sent as. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, overload

import orjson

from metering.events.reading import Refused

UNREADABLE: Final = Refused("parse_error", None, "the line is not JSON")


class Lines(Sequence[Any]):
    """Documents, parsed each time they are asked for: all at once would not fit into the processor's cache."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Lines: ...
    def __getitem__(self, at: int | slice) -> Any:
        return _line(self.texts[at]) if isinstance(at, int) else Lines(self.texts[at])


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return UNREADABLE

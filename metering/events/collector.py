"""Python's search for cycles, and when it is not worth its time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """No search for cycles meanwhile: a batch makes a hundred thousand objects and none, and the searches take half its time.

    With several threads the one that stopped the collector starts it again, maybe before another is done: slower, not wrong.
    """
    stops = gc.isenabled()
    if stops:
        gc.disable()
    try:
        yield
    finally:
        if stops:
            gc.enable()

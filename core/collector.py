"""Python's cyclic garbage collector, told what a long-lived process knows: what was loaded at the start stays.

A full collection looks at every object there is, also at the hundred thousands of loaded modules and models, and with the
defaults one of them comes every few requests. Frozen objects are not looked at again.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (10_000, 20, 50)  # new objects, young collections, middle collections; CPython's own are 700, 10, 10


def let_rest() -> None:
    """Call once, when everything is loaded: what exists now is never looked at again, what is new more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

"""How random histories are looked for: without shrinking, which takes longer than reading one, unless HISTORIES_SHRINK asks."""

from __future__ import annotations

import os

from hypothesis import Phase

PHASES = tuple(Phase) if os.environ.get("HISTORIES_SHRINK") else (Phase.explicit, Phase.reuse, Phase.generate)

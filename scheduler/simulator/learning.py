"""What ended units teach in a simulation: the pace of each capability on each pool, as settling keeps it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.pace import Fit, Key, with_anywhere

PACE_MEMORY = 200.0  # samples that what was learned before counts for, at most; as scheduler/services/pacing.py has it


class Paces:
    """Fits by version; the one over all pools is made when asked for, and kept until another unit of the version ends."""

    def __init__(self) -> None:
        self.fits: dict[int, dict[Key, Fit]] = {}
        self.known: dict[int, dict[Key, Fit]] = {}

    def learn(self, version: int, pool_id: int, tflop: float, seconds: float) -> None:
        """One unit of `tflop` took `seconds` on a pool."""
        fits = self.fits.setdefault(version, {})
        key, new = (version, 0, 0, pool_id), Fit(1.0, tflop, seconds, tflop * tflop, tflop * seconds, seconds * seconds)
        old = fits.get(key)
        if old is not None:
            kept = min(1.0, PACE_MEMORY / old.samples)
            new = Fit(*(value * kept for value in old)).plus(new)
        fits[key] = new
        self.known.pop(version, None)

    def of(self, versions: Iterable[int]) -> dict[Key, Fit]:
        """The fits of some versions."""
        found: dict[Key, Fit] = {}
        for version in versions:
            if version not in self.known and version in self.fits:
                self.known[version] = with_anywhere(self.fits[version])
            found |= self.known.get(version, {})
        return found

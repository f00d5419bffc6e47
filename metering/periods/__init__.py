"""What was used in a period, as bills are made of it: sums and peaks, of any number of customers at once, as of a cutoff.

A run takes its cutoff first (`safe_cutoff`), stores it, and passes it on: whatever is accepted later, the same cutoff finds the
same facts. Late facts count in the period in which they happened, cumulatively, from the next cutoff on.
"""

from __future__ import annotations

from metering.cutoffs import safe_cutoff
from metering.periods.evidence import evidence_of_peak
from metering.periods.peaks import SCALE, Subject, SubjectPeak, days_of_all, peaks_of
from metering.periods.quantities import Quantity, quantities_of
from metering.periods.windows import Window, windows_of, zone_of, zones_of

__all__ = [
    "SCALE",
    "Quantity",
    "Subject",
    "SubjectPeak",
    "Window",
    "days_of_all",
    "evidence_of_peak",
    "peaks_of",
    "quantities_of",
    "safe_cutoff",
    "windows_of",
    "zone_of",
    "zones_of",
]

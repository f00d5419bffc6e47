"""What is charged when a month is over: peaks, tiers, packages, minima, quanta, of pools and of publishers.

docs/billing/charges.md tells the story.

prices   price lists by period as values, read from JSON
rating   usage and a price list -> lines; pure
reading  rows -> usage and price lists
fees     publishers' fees by month: rows -> what is counted, and its lines
portions what resources cost by version: what a publisher's percentage is of
posting  lines -> charges, entries, legs; previews; what is parked
runs     a month's run, corrections, the cutoff
"""

from __future__ import annotations

from billing.periods.posting import Outcome
from billing.periods.runs import correct_periods, rate_periods, safe_cutoff

__all__ = ["Outcome", "correct_periods", "rate_periods", "safe_cutoff"]

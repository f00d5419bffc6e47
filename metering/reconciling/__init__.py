"""Reconciliation: a provider's own counters against what the platform knows. docs/billing/reconciliation.md tells the story.

reading    CSV or NDJSON -> counters
comparing  counters and sums -> a row each with its status; pure
running    stored counters, the sums as of a cutoff, a stored run
"""

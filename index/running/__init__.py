"""Runs: what was observed and known at a moment, scored, drawn, written down, replayed."""

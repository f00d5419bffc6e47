"""Exports of what is owed, for other programs. `columns.py` is FOCUS 1.2 as data; docs/billing/exports.md describes the files."""

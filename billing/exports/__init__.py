"""Exports of usage and money, for other programs. docs/billing/exports.md describes the files.

kinds        what can be exported, as what, by whom; tables: the columns of each version; sources: their statements
columns      FOCUS 1.2 as data; focus, rows: a month as its rows; checks: its rules
writers      rows as CSV and Parquet
requesting   asking for a file; running: writing it under a lease; states: its states
"""

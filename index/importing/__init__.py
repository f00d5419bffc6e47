"""Statistics from files: read, looked at in a preview, committed whole or not at all, rolled back with a reason.

file ─► reading (rows) ─► checking (findings) ─► preview ─► commit ─► roll back
"""

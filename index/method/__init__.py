"""From raw values to scores and ranks. Pure, in exact decimals, so that another machine finds the same bytes.

raw ─► treat ─► normalise ─► aggregate up the tree ─► rank
"""

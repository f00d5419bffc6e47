"""The demo market and its main job: a user in the east, cheaper pools in the west, three classic workloads.

`market.py` says who is there and what they ask; `python -m demo` is a user like any other: it speaks only HTTP.
"""

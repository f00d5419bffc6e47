"""The supervisor behind `make up`: the whole market on one machine, each part a process of its own.

Nothing here knows what the parts do. It starts them in order, waits until they answer, starts again what
dies, and ends all of them with itself, however it ends.
"""

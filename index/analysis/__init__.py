"""What a run's ranks stand on: bands, sensitivity, strengths, changes that would swap, types, regression. Pure.

Draws are in binary numbers, seeded; only ranks and probabilities come out, after scores are rounded to 1e-9.
"""

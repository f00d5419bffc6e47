"""The analytic hierarchy process: weights from pairwise judgements, and how consistent these are. Pure, in exact decimals.

Scale, eigenvector and consistency ratio after Saaty (1980, 2005, 2008); incomplete matrices after Bozoki, Fulop and Ronyai (2010);
groups after Forman and Peniwati (1998). Decimals, so that another machine finds the same bytes.
"""

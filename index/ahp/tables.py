"""Random indices: the mean consistency index of matrices judged by chance. Tables differ, and ratios with them. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from core.errors import Invalid

DEFAULT: Final = "saaty2005"


def _table(*values: str) -> dict[int, Decimal]:
    return {size: Decimal(value) for size, value in enumerate(values, 3)}


# name -> (source, rows from 3 on)
TABLES: Final = {
    "saaty1980": (
        "T. L. Saaty, The Analytic Hierarchy Process, 1980",
        _table("0.58", "0.90", "1.12", "1.24", "1.32", "1.41", "1.45", "1.49"),
    ),
    "saaty2005": (
        "T. L. Saaty, Theory and Applications of the Analytic Network Process, 2005, p. 31",
        _table("0.52", "0.89", "1.11", "1.25", "1.35", "1.40", "1.45", "1.49", "1.52", "1.54", "1.56", "1.58", "1.59"),
    ),
    "dd1991": (
        "H. A. Donegan and F. J. Dodd, A note on Saaty's random indexes, 1991",
        _table("0.4914", "0.8286", "1.0591", "1.1797", "1.2519", "1.3171", "1.3733", "1.4055"),
    ),
    "tummala_ling1998": (
        "V. M. R. Tummala and H. Ling, 1998",
        _table("0.5799", "0.8921", "1.1159", "1.2358", "1.3322", "1.3952", "1.4537", "1.4882"),
    ),
    "simulated_500k": (
        "500,000 matrices by chance, as in the R package ahpsurvey",
        _table("0.5251686", "0.8836651", "1.1081014", "1.2492774", "1.3415514", "1.4048466", "1.4507197", "1.4857266"),
    ),
}


def random_index(table: str, size: int) -> Decimal:
    """Invalid `random_index_unknown`, `matrix_too_large`."""
    if table not in TABLES:
        raise Invalid("random_index_unknown", f"there is no table {table!r} of random indices", field="random_index")
    values = TABLES[table][1]
    if size not in values:
        raise Invalid("matrix_too_large", f"{table} ends at {max(values)} rows, this matrix has {size}", field="random_index")
    return values[size]

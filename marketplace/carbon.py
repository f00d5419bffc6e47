"""Carbon of electricity by region and hour. Pure.

Factors: kg CO2 per kWh of 2022, announced by the Ministry of Ecology and Environment and the National Bureau of
Statistics on 20 December 2024: the province's own where it is among the ten quoted most widely, else its grid's. They are
what a new installation starts with; operators keep them up to date.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

NATIONAL_G_PER_KWH: Final = 536.6
_GRIDS: Final = {
    677.6: "beijing tianjin hebei shanxi neimenggu shandong",
    556.4: "liaoning jilin heilongjiang",
    561.7: "shanghai jiangsu zhejiang anhui fujian",
    539.5: "henan hubei hunan jiangxi",
    585.7: "shaanxi gansu qinghai ningxia xinjiang",
    386.9: "guangdong guangxi hainan guizhou yunnan",
    226.8: "chongqing sichuan xizang",
}
_PROVINCES: Final = {
    "hebei": 725.2, "shanxi": 709.6, "tianjin": 704.1, "neimenggu": 684.9, "anhui": 678.2,
    "fujian": 409.2, "guangxi": 404.4, "qinghai": 156.7, "sichuan": 140.4, "yunnan": 107.3,
}  # fmt: skip
G_PER_KWH: Final[dict[str, float]] = {
    region: grams for grams, regions in _GRIDS.items() for region in regions.split()
} | _PROVINCES


def carbon_now(g_per_kwh: float | None, by_hour: Sequence[float], hour: int) -> float:
    """Grams of CO2 per kWh at an hour of the day; `by_hour` are 24 factors, or none.

    >>> carbon_now(500.0, [0.5] * 12 + [1.5] * 12, 13)
    750.0
    """
    grams = NATIONAL_G_PER_KWH if g_per_kwh is None else g_per_kwh
    return grams * (by_hour[hour % 24] if len(by_hour) == 24 else 1.0)


def load_carbon(apps: Any) -> None:
    """Give the provinces the factors they start with; `apps` is a registry, as a migration has it."""
    region = apps.get_model("marketplace", "Region")
    rows = list(region.objects.filter(code__in=G_PER_KWH, carbon_g_per_kwh=None))
    for row in rows:
        row.carbon_g_per_kwh = G_PER_KWH[row.code]
    region.objects.bulk_update(rows, ["carbon_g_per_kwh"])

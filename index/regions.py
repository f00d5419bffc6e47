"""The 31 provinces of GB/T 2260 with their places on a grid of tiles, and what else a map must show. Pure.

The grid keeps who is beside whom as far as squares can; it is no map and has no borders. Statistics of Taiwan, Hong Kong and Macao
are kept by other authorities and are in none of the sources that this index reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NATION: Final = "100000"  # control totals


@dataclass(frozen=True, slots=True)
class Province:
    """`short` has two Chinese characters or three; `row` and `column` count from the north and the west."""

    code: str
    short: str
    zh: str
    en: str
    row: int
    column: int


def _read(table: str) -> dict[str, Province]:
    found = [line.split() for line in table.strip().splitlines()]
    return {
        code: Province(code, short, zh, en.replace("_", " "), int(row), int(column)) for code, short, zh, en, row, column in found
    }


PROVINCES: Final = _read("""
110000 北京 北京市 Beijing 2 6
120000 天津 天津市 Tianjin 2 7
130000 河北 河北省 Hebei 3 6
140000 山西 山西省 Shanxi 3 5
150000 内蒙古 内蒙古自治区 Inner_Mongolia 1 5
210000 辽宁 辽宁省 Liaoning 2 8
220000 吉林 吉林省 Jilin 1 8
230000 黑龙江 黑龙江省 Heilongjiang 0 8
310000 上海 上海市 Shanghai 5 8
320000 江苏 江苏省 Jiangsu 4 7
330000 浙江 浙江省 Zhejiang 6 7
340000 安徽 安徽省 Anhui 5 6
350000 福建 福建省 Fujian 7 7
360000 江西 江西省 Jiangxi 6 6
370000 山东 山东省 Shandong 3 7
410000 河南 河南省 Henan 4 6
420000 湖北 湖北省 Hubei 5 5
430000 湖南 湖南省 Hunan 6 5
440000 广东 广东省 Guangdong 7 6
450000 广西 广西壮族自治区 Guangxi 7 5
460000 海南 海南省 Hainan 8 6
500000 重庆 重庆市 Chongqing 5 4
510000 四川 四川省 Sichuan 5 3
520000 贵州 贵州省 Guizhou 6 4
530000 云南 云南省 Yunnan 7 3
540000 西藏 西藏自治区 Tibet 5 1
610000 陕西 陕西省 Shaanxi 4 5
620000 甘肃 甘肃省 Gansu 3 3
630000 青海 青海省 Qinghai 4 2
640000 宁夏 宁夏回族自治区 Ningxia 3 4
650000 新疆 新疆维吾尔自治区 Xinjiang 2 1
""")

EAST, NORTHEAST, CENTRE, WEST = "east", "northeast", "centre", "west"
# 国家统计局 东西中部和东北地区划分方法 (2011): how statistics divide the provinces.
_ZONES: Final = {
    EAST: "北京 天津 河北 上海 江苏 浙江 福建 山东 广东 海南",
    NORTHEAST: "辽宁 吉林 黑龙江",
    CENTRE: "山西 安徽 江西 河南 湖北 湖南",
    WEST: "内蒙古 广西 重庆 四川 贵州 云南 西藏 陕西 甘肃 青海 宁夏 新疆",
}
_ZONE_OF: Final = {short: zone for zone, names in _ZONES.items() for short in names.split()}


def zone_of(code: str) -> str:
    """east, northeast, centre or west; empty of what is no province."""
    return _ZONE_OF[PROVINCES[code].short] if code in PROVINCES else ""

# a map without them is none, though no source that is read counts them: (short, zh, en)
UNCOUNTED: Final = {
    "710000": ("台湾", "台湾省", "Taiwan"),
    "810000": ("香港", "香港特别行政区", "Hong Kong"),
    "820000": ("澳门", "澳门特别行政区", "Macao"),
}

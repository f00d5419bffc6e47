"""The 31 provinces of the mainland: GB/T 2260 codes, names, and the coordinates of their capital cities.

Codes are pinyin; Shanxi 山西 and Shaanxi 陕西 keep their usual spellings. Coordinates are WGS 84 degrees.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple


class Province(NamedTuple):
    """A row of the table: code, gb_code, name, name_zh, latitude and longitude of the capital city."""

    code: str
    gb_code: str
    name: str
    name_zh: str
    latitude: str
    longitude: str


PROVINCES: Final = (
    Province("beijing", "110000", "Beijing", "北京市", "39.90420", "116.40740"),
    Province("tianjin", "120000", "Tianjin", "天津市", "39.08420", "117.20090"),
    Province("hebei", "130000", "Hebei", "河北省", "38.04280", "114.51490"),
    Province("shanxi", "140000", "Shanxi", "山西省", "37.87060", "112.54890"),
    Province("neimenggu", "150000", "Inner Mongolia", "内蒙古自治区", "40.84260", "111.74920"),
    Province("liaoning", "210000", "Liaoning", "辽宁省", "41.80570", "123.43150"),
    Province("jilin", "220000", "Jilin", "吉林省", "43.81710", "125.32350"),
    Province("heilongjiang", "230000", "Heilongjiang", "黑龙江省", "45.80380", "126.53500"),
    Province("shanghai", "310000", "Shanghai", "上海市", "31.23040", "121.47370"),
    Province("jiangsu", "320000", "Jiangsu", "江苏省", "32.06030", "118.79690"),
    Province("zhejiang", "330000", "Zhejiang", "浙江省", "30.27410", "120.15510"),
    Province("anhui", "340000", "Anhui", "安徽省", "31.82060", "117.22720"),
    Province("fujian", "350000", "Fujian", "福建省", "26.07450", "119.29650"),
    Province("jiangxi", "360000", "Jiangxi", "江西省", "28.68290", "115.85820"),
    Province("shandong", "370000", "Shandong", "山东省", "36.65120", "117.12010"),
    Province("henan", "410000", "Henan", "河南省", "34.74660", "113.62540"),
    Province("hubei", "420000", "Hubei", "湖北省", "30.59280", "114.30550"),
    Province("hunan", "430000", "Hunan", "湖南省", "28.22820", "112.93880"),
    Province("guangdong", "440000", "Guangdong", "广东省", "23.12910", "113.26440"),
    Province("guangxi", "450000", "Guangxi", "广西壮族自治区", "22.81700", "108.36650"),
    Province("hainan", "460000", "Hainan", "海南省", "20.04440", "110.19990"),
    Province("chongqing", "500000", "Chongqing", "重庆市", "29.56300", "106.55160"),
    Province("sichuan", "510000", "Sichuan", "四川省", "30.57280", "104.06680"),
    Province("guizhou", "520000", "Guizhou", "贵州省", "26.64700", "106.63020"),
    Province("yunnan", "530000", "Yunnan", "云南省", "24.88010", "102.83290"),
    Province("xizang", "540000", "Tibet", "西藏自治区", "29.65200", "91.17210"),
    Province("shaanxi", "610000", "Shaanxi", "陕西省", "34.34160", "108.93980"),
    Province("gansu", "620000", "Gansu", "甘肃省", "36.06110", "103.83430"),
    Province("qinghai", "630000", "Qinghai", "青海省", "36.61710", "101.77820"),
    Province("ningxia", "640000", "Ningxia", "宁夏回族自治区", "38.48720", "106.23090"),
    Province("xinjiang", "650000", "Xinjiang", "新疆维吾尔自治区", "43.82560", "87.61680"),
)


def load_regions(apps: Any) -> None:
    """Insert the provinces that are not there yet; `apps` is a registry, as a migration has it."""
    region = apps.get_model("marketplace", "Region")
    rows = [
        region(
            code=one.code,
            gb_code=one.gb_code,
            name=one.name,
            name_zh=one.name_zh,
            latitude=Decimal(one.latitude),
            longitude=Decimal(one.longitude),
        )
        for one in PROVINCES
    ]
    region.objects.bulk_create(rows, ignore_conflicts=True)

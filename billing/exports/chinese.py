"""What a FOCUS row is for, in Chinese: `x_ChargeDescriptionZh` beside the English `ChargeDescription`. Pure."""

from __future__ import annotations

import re
from typing import Final

_WHOLE: Final = {
    "Charge of a month": "按月计费",
    "Correction of a month": "月度计费更正",
    "Correction of usage": "用量更正",
    "Credit note": "贷项通知单",
    "Price cap of a task": "任务价格上限",
    "Refund after a dispute": "争议退款",
    "Rounding of an invoice line": "账单行尾差",
    "Rounding carried forward": "尾差结转",
    "Service level credit": "服务等级赔付",
    "Tax of a credit note": "贷项通知单税额",
}
_METERS: Final = {
    "Accelerator Time": "加速卡时长",
    "CPU Time": "核时",
    "Core Occupancy": "核占用时长",
    "Data Transfer": "数据传输",
    "Normalised FP32 Work": "标准算力（FP32）",
    "Peak of Accelerators Held": "占用加速卡数峰值",
    "Peak of Cores Held": "占用核数峰值",
    "Publisher Fee": "能力使用费",
    "Publisher Share": "能力分成",
    "Publisher Task Fee": "能力任务费",
    "Results": "结果数",
    "Surcharge": "附加费",
}
_TAX: Final = re.compile(r"Tax of (\S+) percent")


def in_chinese(description: str) -> str:
    """What nobody translated, as a meter that a pool itself names, stays as it is.

    >>> in_chinese("CPU Time of carol/render"), in_chinese("Tax of 6 percent"), in_chinese("Tokens of 310000-G-000003-M")
    ('carol/render：核时', '税额 6%', '310000-G-000003-M：Tokens')
    >>> in_chinese("Peak of Cores Held of 310000-G-000003-M")
    '310000-G-000003-M：占用核数峰值'
    """
    if description in _WHOLE:
        return _WHOLE[description]
    if found := _TAX.fullmatch(description):
        return f"税额 {found[1]}%"
    meter, of, whose = description.rpartition(" of ")
    return f"{whose}：{_METERS.get(meter, meter)}" if of else description

"""An invoice as people and programs read it: a document (JSON), CSV, HTML and PDF, in Chinese and English.

A PDF needs a font that has Chinese characters: Debian's package fonts-noto-cjk.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models.functions import Coalesce
from django.template.loader import render_to_string
from django.utils import timezone

from billing.invoices.payments import open_micros
from billing.models import Invoice
from billing.rating.currencies import minor_units
from core.money import text_of
from core.spreadsheets import safe_cell

Json = dict[str, Any]
INSTANT: Final = timedelta(microseconds=1)  # before a midnight is the day that ends with it
COLUMNS: Final = (
    "number", "kind", "service_from", "service_to", "is_correction", "capability", "pool", "basis", "charges",
    "exact", "amount", "tax",
)  # fmt: skip
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "invoice": "Invoice", "draft": "Draft, not an invoice yet", "bill_to": "Bill to", "issuer": "From",
        "tax_number": "Tax no.", "issued": "Issued", "due": "Pay by",
        "period": "Service period", "line": "Line", "what": "Service", "charges": "Charges", "amount": "Amount", "tax": "Tax",
        "net": "Net", "total": "Total", "paid": "Paid", "credited": "Credited", "open": "To be paid", "void": "Void",
        "usage": "Compute", "whole": "Compute by the month", "fee": "Capability fees", "sla": "Service level credit",
        "remainder": "Rounding carried forward", "rounding": "Rounding dropped",
        "correction": "late usage of an earlier month", "consumption": "by consumption", "occupancy": "by occupancy",
        "on": "on", "exact": "exact amount", "of": "of", "daily_peak": "by the daily peak", "monthly_peak": "by the monthly peak",
        "result": "by result", "core_second": "core-seconds", "accelerator_second": "accelerator-seconds",
        "fp32_tflop": "FP32 TFLOP", "gb_moved": "GB moved", "occupancy_second": "core-seconds held", "results": "results",
        "held_cores": "cores held", "held_accelerators": "accelerators held", "surcharge": "surcharge",
        "fee_per_unit": "units", "fee_per_task": "tasks", "fee_share": "cost of resources",
    },
    "zh": {
        "invoice": "账单", "draft": "草稿（尚未出账）", "bill_to": "客户", "issuer": "销售方",
        "tax_number": "税号", "issued": "出账日期", "due": "最迟付款",
        "period": "服务周期", "line": "行", "what": "服务", "charges": "计费笔数", "amount": "金额",
        "tax": "税额", "net": "不含税金额", "total": "合计", "paid": "已付", "credited": "已冲减",
        "open": "应付余额", "void": "已作废", "usage": "算力资源", "whole": "包月计费资源",
        "fee": "能力使用费", "sla": "服务等级赔付", "remainder": "尾差结转",
        "rounding": "尾差舍去", "correction": "以往月份的补记", "consumption": "按消耗量", "occupancy": "按占用时间",
        "on": "资源池",
        "exact": "精确金额", "of": "计税金额", "daily_peak": "按当日峰值", "monthly_peak": "按当月峰值", "result": "按结果",
        "core_second": "核·秒", "accelerator_second": "加速卡·秒", "fp32_tflop": "FP32 TFLOP（标准算力）",
        "gb_moved": "GB 传输", "occupancy_second": "占用核·秒", "results": "个结果", "held_cores": "核（占用峰值）",
        "held_accelerators": "卡（占用峰值）", "surcharge": "附加费",
        "fee_per_unit": "个单元", "fee_per_task": "个任务", "fee_share": "资源费用",
    },
}  # fmt: skip


def document(invoice: Invoice) -> Json:
    """An invoice with its lines, taxes, credit notes and payments; amounts are decimal text with six places."""
    lines = invoice.lines.select_related("capability__organization", "pool").order_by("number")
    return summary(invoice) | {
        "lines": [_line(line) for line in lines],
        "taxes": [
            {
                "tax": one.rate.tax.code,
                "name": one.rate.tax.name,
                "percent": f"{one.percent.normalize():f}",
                "base": text_of(one.base_micros),
                "amount": text_of(one.amount_micros),
            }
            for one in invoice.taxes.select_related("rate__tax").order_by("rate__tax__code")
        ],
        "credit_notes": [
            {
                "number": note.number,
                "net": text_of(note.net_micros),
                "tax": text_of(note.tax_micros),
                "reason": note.reason,
                "issued_at": note.issued_at,
            }
            for note in invoice.credit_notes.order_by("pk")
        ],
        "payments": _payments(invoice),
        "notices": [
            {"level": one.level, "action": one.action, "owed": text_of(one.owed_micros), "noticed_at": one.noticed_at}
            for one in invoice.notices.order_by("level")
        ],
    }


def _payments(invoice: Invoice) -> list[dict[str, Any]]:
    names = ("payment", "payment__method", "payment__received_on", "amount_micros", "gone", "payment__reversal__reversed_at")
    rows = invoice.allocations.annotate(gone=Coalesce("reversed__amount_micros", 0)).order_by("pk").values_list(*names)
    return [
        {
            "payment": payment,
            "method": method,
            "received_on": received_on,
            "amount": text_of(micros),
            "reversed": text_of(gone),
            "reversed_at": reversed_at,
        }
        for payment, method, received_on, micros, gone, reversed_at in rows
    ]


def summary(invoice: Invoice) -> Json:
    """An invoice without its lines."""
    amounts = ("exact", "carried_in", "carried_out", "dropped", "net", "tax", "total", "paid", "credited")
    period = invoice.period
    return {
        "id": invoice.pk,
        "number": invoice.number,
        "organization": invoice.organization.slug,
        "state": invoice.state,
        "currency": invoice.currency,
        "period": {"from": period.starts_at, "to": period.ends_at, "zone": period.zone},
        "grace_until": invoice.grace_until,
        "issued_at": invoice.finalized_at,
        "due_at": invoice.due_at,
        "ended_at": invoice.ended_at,
        "reason": invoice.reason,
        "replaces": invoice.replaces_id,
        "bill_to": invoice.bill_to.get("name", invoice.organization.name),
        "buyer": _buyer(invoice),
        "issuer": {name: invoice.issuer.get(name, "") for name in ("name", "address", "tax_number")},
        "open": text_of(open_micros(invoice) if invoice.state in {"finalized", "overdue"} else 0),
    } | {name: text_of(getattr(invoice, f"{name}_micros")) for name in amounts}


def _buyer(invoice: Invoice) -> Json:
    """Who buys: as frozen with the invoice; of a draft, as the organization says now."""
    now = invoice.organization
    told = invoice.bill_to or {"name": now.name, "address": now.billing_address, "tax_number": now.tax_number}
    return {name: told.get(name, "") for name in ("name", "address", "tax_number")}


def _line(line: Any) -> Json:
    capability = line.capability and f"{line.capability.organization.slug}/{line.capability.name}"
    same = {
        name: getattr(line, name) for name in ("number", "kind", "service_from", "service_to", "is_correction", "basis", "charges")
    }
    amounts = {name: text_of(getattr(line, f"{name}_micros")) for name in ("exact", "amount", "tax")}
    return same | amounts | {"capability": capability, "pool": line.pool and line.pool.identifier, "quantities": line.quantities}


def csv_of(invoice: Invoice) -> bytes:
    """Its lines as CSV; cells that a spreadsheet would run as a formula begin with an apostrophe."""
    text, told = io.StringIO(), document(invoice)
    rows = csv.writer(text)
    parties = [(party, name) for party in ("buyer", "issuer") for name in ("name", "address", "tax_number")]
    rows.writerow(["invoice", *COLUMNS, "currency", *(f"{party}_{name}" for party, name in parties)])
    who = [safe_cell(told[party][name]) for party, name in parties]
    for line in told["lines"]:
        moments = {name: line[name].isoformat() for name in ("service_from", "service_to")}
        rows.writerow([told["number"], *(safe_cell((line | moments)[name]) for name in COLUMNS), told["currency"], *who])
    return text.getvalue().encode()


def html_of(invoice: Invoice, language: str = "en") -> str:
    """Its page, in `en` or `zh`."""
    zone, words, told = ZoneInfo(invoice.period.zone), WORDS[language], document(invoice)

    def money(text: str) -> str:
        return minor_text(text, invoice.currency)

    def day(moment: Any) -> str:
        return "" if moment is None else f"{timezone.localtime(moment, zone):%Y-%m-%d}"

    last = timezone.localtime(invoice.period.ends_at - INSTANT, zone)
    lines = [
        line
        | {
            "title": words[_title(line)],
            "basis": words.get(line["basis"], line["basis"]),
            "amount": money(line["amount"]),
            "tax": money(line["tax"]),
            "month": f"{timezone.localtime(line['service_from'], zone):%Y-%m}",
            "exact": _plain(line["exact"]),
            "used": [f"{_plain(used)} {words.get(meter, meter)}" for meter, used in line["quantities"].items() if used != "0"],
        }
        for line in told["lines"]
    ]
    sums = [(name, words[name], money(told[name])) for name in ("total", "paid", "credited", "open")]
    shown: Json = {"language": language, "w": words, "invoice": told, "lines": lines}
    shown |= {"issued": day(invoice.finalized_at), "due": day(invoice.due_at and invoice.due_at - INSTANT)}
    shown |= {
        "from": day(invoice.period.starts_at),
        "to": f"{last:%Y-%m-%d}",
        "net": money(told["net"]),
        "sums": sums,
    }
    shown |= {"taxes": [one | {"amount": money(one["amount"]), "base": money(one["base"])} for one in told["taxes"]]}
    return render_to_string("billing/invoice.html", shown)


def _title(line: Json) -> str:
    """The word for what a line is for: of a month a pool's usage, or a capability's fees."""
    if line["kind"] == "period":
        return "fee" if line["capability"] else "whole"
    return str(line["kind"])


def _plain(text: str) -> str:
    """Decimal text without zeros at its end, and thousands apart.

    >>> _plain("1851.851835"), _plain("162000"), _plain("15.000000")
    ('1,851.851835', '162,000', '15')
    """
    return f"{Decimal(text).normalize():,f}"


def minor_text(text: str, currency: str) -> str:
    """Decimal text of six places with the currency's own places, and thousands apart.

    >>> minor_text("-1234567.500000", "CNY"), minor_text("1000.000000", "JPY")
    ('-1,234,567.50', '1,000')
    """
    whole, _, part = text.partition(".")
    places = minor_units(currency)
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}" + (f".{part[:places]}" if places else "")


def pdf_of(invoice: Invoice, language: str = "en") -> bytes:
    """Its page as PDF. Nothing is fetched: the page has no links to files."""
    from weasyprint import HTML

    def nothing(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"an invoice fetches nothing, not {url}")

    return bytes(HTML(string=html_of(invoice, language), url_fetcher=nothing).write_pdf())

"""Bank statements: CAMT.053 and CSV read whole or not at all, and each line matched with an invoice, or queued for a person.

CAMT.053 (ISO 20022 BankToCustomerStatement): credits (`CdtDbtInd` CRDT) that are booked. Entities and DTDs are refused.
CSV: `reference,date,amount,currency,payer,remittance`, UTF-8, a header first, every line ended.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from django.db import transaction
from django.utils import timezone

from billing.invoices.payments import MOST, Receipt, open_micros, record_payment
from billing.invoices.states import OWED
from billing.models import BankLine, BankStatement, Invoice
from billing.rating.currencies import MINOR_UNITS
from core.errors import Conflict, Invalid
from core.money import MICROS
from marketplace.models import User

COLUMNS: Final = ("reference", "date", "amount", "currency", "payer", "remittance")
NUMBER: Final = re.compile(r"[A-Z0-9]{1,10}-\d{4}-\d{6,}", re.ASCII)
AMOUNT: Final = re.compile(r"\d{1,12}(\.\d{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """Money that came in, as the bank tells it."""

    reference: str
    booked_on: date
    micros: int
    currency: str
    payer: str
    remittance: str


@dataclass(frozen=True, slots=True)
class Owed:
    """An invoice as matching sees it."""

    pk: int
    number: str
    state: str
    currency: str
    open: int
    name: str


def match(line: Line, invoices: Sequence[Owed]) -> tuple[Owed | None, str]:
    """The invoice that a line pays, or why a person has to look. Pure.

    By the number in its text; without one by what is open and the payer's name, when one invoice alone fits both.
    why   several_invoices | no_invoice | not_owed | other_currency
    """
    named = set(NUMBER.findall(line.remittance.upper()))
    found = [one for one in invoices if one.number in named]
    if not found:
        payer = line.payer.strip().casefold()
        found = [
            one
            for one in invoices
            if (one.open, one.currency, one.name.strip().casefold()) == (line.micros, line.currency, payer) and one.state in OWED
        ]
    if len(found) != 1:
        return None, "several_invoices" if found else "no_invoice"
    (one,) = found
    why = "not_owed" if one.state not in OWED else "other_currency" if one.currency != line.currency else ""
    return (None, why) if why else (one, "")


def import_statement(data: bytes, name: str, by: User | None = None) -> BankStatement:
    """Read a bank's file, record what matches, queue the rest. All of it or nothing; the same file again changes nothing.

    Lines that an earlier file held already (by the bank's reference) are left out. Raises Invalid `statement_invalid`.
    """
    digest = hashlib.sha256(data).hexdigest()
    form = "camt053" if data.lstrip()[:1] == b"<" else "csv"
    account, lines = parse_camt(data) if form == "camt053" else ("", parse_csv(data))
    with transaction.atomic():
        fields = {"format": form, "name": name, "account": account, "imported_at": timezone.now(), "imported_by": by}
        statement, made = BankStatement.objects.get_or_create(digest=digest, defaults=fields)
        if made:
            _take(statement, lines, by)
    return statement


def _take(statement: BankStatement, lines: Sequence[Line], by: User | None) -> None:
    known = set(BankLine.objects.filter(reference__in=[one.reference for one in lines]).values_list("reference", flat=True))
    for number, line in enumerate(lines, 1):
        if line.reference not in known:
            _take_line(statement, number, line, by)


def _take_line(statement: BankStatement, number: int, line: Line, by: User | None) -> None:
    invoice, why = match(line, _candidates(line))
    payment = None if invoice is None else _pay(line, Invoice.objects.get(pk=invoice.pk), by)
    BankLine.objects.create(
        statement=statement,
        number=number,
        reference=line.reference,
        booked_on=line.booked_on,
        amount_micros=line.micros,
        currency=line.currency,
        payer=line.payer,
        remittance=line.remittance,
        state="matched" if payment else "queued",
        why=why,
        payment=payment,
    )


def _candidates(line: Line) -> list[Owed]:
    numbers = NUMBER.findall(line.remittance.upper())
    rows = Invoice.objects.filter(number__in=numbers)
    if not rows:
        rows = Invoice.objects.filter(state__in=OWED, currency=line.currency, bill_to__name__iexact=line.payer.strip())
    return [Owed(i.pk, i.number or "", i.state, i.currency, open_micros(i), i.bill_to.get("name", "")) for i in rows]


def _pay(line: Line, invoice: Invoice, by: User | None) -> Any:
    text = f"{line.payer}: {line.remittance}"[:200]
    key = f"bank/{hashlib.sha256(line.reference.encode()).hexdigest()[:40]}"
    mine: dict[str, Any] = {
        "organization": invoice.organization_id,
        "currency": line.currency,
        "micros": line.micros,
        "invoices": [invoice.pk],
    }
    return record_payment(Receipt(key=key, method="bank", received_on=line.booked_on, reference=text, by=by, **mine))


def settle_line(line: BankLine, invoice: Invoice | None, by: User | None = None) -> BankLine:
    """A person's word on a queued line: the invoice that it pays, or None: it is no payment of ours.

    Raises Conflict `bank_line_over`, and what `record_payment` raises.
    """
    with transaction.atomic():
        held = BankLine.objects.select_for_update().get(pk=line.pk)
        if held.state != BankLine.State.QUEUED:
            raise Conflict("bank_line_over", f"this line is {held.state} already")
        if invoice is not None:
            said = Line(held.reference, held.booked_on, held.amount_micros, held.currency, held.payer, held.remittance)
            held.payment = _pay(said, invoice, by)
        held.state = BankLine.State.MATCHED if invoice else BankLine.State.IGNORED
        held.save(update_fields=["state", "payment"])
    return held


def parse_camt(data: bytes) -> tuple[str, list[Line]]:
    """(account, lines) of a CAMT.053 document of any version. Raises Invalid `statement_invalid`."""
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise _unreadable(f"this is no whole XML document: {type(error).__name__}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    statements = root.findall("BkToCstmrStmt/Stmt")
    if not statements:
        raise _unreadable("this is no CAMT.053 document")
    account = _text(statements[0], "Acct/Id/IBAN") or _text(statements[0], "Acct/Id/Othr/Id")
    return account[:40], _whole([line for one in statements for line in _entries(one, account)])


def _entries(statement: Any, account: str) -> Iterator[Line]:
    for number, entry in enumerate(statement.findall("Ntry"), 1):
        status = _text(entry, "Sts/Cd") or _text(entry, "Sts")
        if _text(entry, "CdtDbtInd") != "CRDT" or status not in {"BOOK", ""} or _text(entry, "RvslInd") == "true":
            continue
        details = entry.find("NtryDtls/TxDtls")
        amount = entry.find("Amt")
        told = {
            "reference": _text(entry, "AcctSvcrRef") or f"{account}/{_text(statement, 'Id')}/{number}",
            "date": (_text(entry, "BookgDt/Dt") or _text(entry, "BookgDt/DtTm"))[:10],
            "amount": "" if amount is None else (amount.text or "").strip(),
            "currency": "" if amount is None else amount.get("Ccy", ""),
            "payer": _text(details, "RltdPties/Dbtr/Nm") or _text(details, "RltdPties/Dbtr/Pty/Nm"),
            "remittance": " ".join(one.text or "" for one in entry.iter("Ustrd")),
        }
        yield _line(told, f"entry {number}")


def _text(element: Any, path: str) -> str:
    found = None if element is None else element.find(path)
    return "" if found is None else (found.text or "").strip()


def parse_csv(data: bytes) -> list[Line]:
    """Lines of a CSV with the header COLUMNS. Raises Invalid `statement_invalid`, with the line's number."""
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(f"this is no CSV in UTF-8: {error}") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise _unreadable(f"the first line is {','.join(COLUMNS)}")
    if not text.endswith("\n"):
        raise _unreadable("the last line has no end: the file was cut")
    if wrong := [number for number, row in enumerate(rows, 1) if len(row) != len(COLUMNS)]:
        raise _unreadable(f"line {wrong[0]} has not {len(COLUMNS)} cells")
    return _whole([_line(dict(zip(COLUMNS, row, strict=True)), f"line {number}") for number, row in enumerate(rows[1:], 2)])


def _line(told: Mapping[str, str], where: str) -> Line:
    try:
        if not AMOUNT.fullmatch(told["amount"]) or told["currency"] not in MINOR_UNITS or not told["reference"]:
            raise ValueError
        micros = Decimal(told["amount"]) * MICROS
        if not 0 < micros <= MOST:
            raise ValueError
        day = date.fromisoformat(told["date"])
    except (ValueError, InvalidOperation):
        detail = f"{where} needs a reference, a date (2026-04-02), an amount with a point and a currency"
        raise _unreadable(detail) from None
    return Line(told["reference"][:140], day, int(micros), told["currency"], told["payer"][:200], told["remittance"][:1000])


def _whole(lines: list[Line]) -> list[Line]:
    if len({one.reference for one in lines}) < len(lines):
        raise _unreadable("two lines have the same reference")
    return lines


def _unreadable(detail: str) -> Invalid:
    return Invalid("statement_invalid", detail, field="file")

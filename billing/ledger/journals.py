"""Entries in the words of plain-text accounting: hledger's journal and beancount's. Pure: documents in, text out.

Both show amounts in the currency's unit with six places, debits positive. An organization sees its own legs only; what they
lack to balance stands on one line for all others, `Equity:Counterparties`. A journal ends with what every account must come to, so
that the program that reads it checks the platform's balances against its own sums.

hledger: https://hledger.org/1.25/hledger.html#journal-format, beancount: https://beancount.github.io/docs/beancount_language_syntax.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from core.money import text_of

Json = dict[str, Any]
OTHERS: Final = "Equity:Counterparties"
_CLASS_OF: Final = {
    "receivable": "Assets", "cash": "Assets", "bank": "Assets", "clearing": "Assets", "remainder": "Assets",
    "payable": "Liabilities", "prepaid": "Liabilities", "wallet": "Liabilities", "reserve": "Liabilities", "tax": "Liabilities",
    "revenue": "Income", "cost": "Expenses", "expense": "Expenses", "loss": "Expenses", "rounding": "Expenses",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """How one program wants it. `sums` are (account's name, currency, micros)."""

    head: Callable[[int, Iterable[str]], Iterator[str]]
    entry: Callable[[Json, int, Mapping[int, str]], str]
    balances: Callable[[date, Iterable[tuple[str, str, int]]], str]


def account_name(kind: str, slug: str | None) -> str:
    """A name that both programs take; its first word is the class that the last word of the kind belongs to.

    >>> account_name("provider_payable", "bobs-pools")
    'Liabilities:ProviderPayable:Bobs-pools'
    """
    words = kind.split("_")
    name = f"{_CLASS_OF.get(words[-1], 'Equity')}:{''.join(word.capitalize() for word in words)}"
    return f"{name}:{slug[0].upper()}{slug[1:]}" if slug else name


def day_of(entry: Json) -> date:
    """The day on which an entry was posted, UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=entry["posted_us"])).date()


def postings(entry: Json, names: Mapping[int, str]) -> list[tuple[str, str, int]]:
    """(account's name, currency, micros) of each leg that is shown, and what all others make up, per currency."""
    shown = [leg for leg in entry["legs"] if "leg" in leg]
    lines = [(names[leg["account"]], leg["currency"], leg["debit"] - leg["credit"]) for leg in shown]
    rest: dict[str, int] = {}
    for _, currency, micros in lines:
        rest[currency] = rest.get(currency, 0) - micros
    return lines + [(OTHERS, currency, micros) for currency, micros in rest.items() if micros]


def _clean(text: str) -> str:
    """Text for one line: no control characters, and nothing that begins a comment."""
    return "".join(" " if char == ";" or not char.isprintable() else char for char in text).strip()


def _said(entry: Json) -> str:
    return _clean(f"{entry['key']} {entry['memo']}")


def _hledger_head(seal: int, names: Iterable[str]) -> Iterator[str]:
    yield f"; Gridfare's ledger up to seal {seal}\n"
    yield from (f"account {name}\n" for name in sorted({*names, OTHERS}))


def _hledger_entry(entry: Json, seal: int, names: Mapping[int, str]) -> str:
    head = f"\n{day_of(entry)} ({entry['position']}) {_clean(entry['kind'])} | {_said(entry)}\n"
    tags = f"    ; seal:{seal}, entry:{entry['entry']}, task:{entry['task'] or ''}\n"
    lines = (f"    {name}  {text_of(micros)} {currency}\n" for name, currency, micros in postings(entry, names))
    return head + tags + "".join(lines)


def _hledger_balances(last: date, sums: Iterable[tuple[str, str, int]]) -> str:
    lines = (f"    {name}  0.000000 {currency} = {text_of(micros)} {currency}\n" for name, currency, micros in sums)
    return f"\n{last} gridfare | what every account comes to\n" + "".join(lines)


def _beancount_head(seal: int, names: Iterable[str]) -> Iterator[str]:
    yield f'option "title" "Gridfare ledger up to seal {seal}"\n'
    yield from (f"1970-01-01 open {name}\n" for name in sorted({*names, OTHERS}))


def _quoted(text: str) -> str:
    escaped = _clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _beancount_entry(entry: Json, seal: int, names: Mapping[int, str]) -> str:
    head = f"\n{day_of(entry)} * {_quoted(entry['kind'])} {_quoted(_said(entry))}\n"
    facts = f"  place: {entry['position']}\n  seal: {seal}\n  entry: {entry['entry']}\n"
    task = f'  task: "{entry["task"]}"\n' if entry["task"] else ""
    lines = (f"  {name}  {text_of(micros)} {currency}\n" for name, currency, micros in postings(entry, names))
    return head + facts + task + "".join(lines)


def _beancount_balances(last: date, sums: Iterable[tuple[str, str, int]]) -> str:
    """Beancount checks at the beginning of a day; `~ 0` takes away the tolerance that it would give."""
    day = last + timedelta(days=1)
    return "\n" + "".join(f"{day} balance {name}  {text_of(micros)} ~ 0 {currency}\n" for name, currency, micros in sums)


HLEDGER: Final = Style(_hledger_head, _hledger_entry, _hledger_balances)
BEANCOUNT: Final = Style(_beancount_head, _beancount_entry, _beancount_balances)

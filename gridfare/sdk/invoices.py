"""Invoices: an organization's own, their files and charges; operators' payments and corrections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class InvoiceCalls(Calls):
    """What is to be paid, and what was."""

    def invoices(self, *, most: int | None = None) -> Iterator[Json]:
        """The organization's invoices (operators: all), oldest first."""
        return self.http.pages("/invoices", most=most)

    def invoice(self, invoice: int) -> Json:
        """One invoice with its lines, taxes, credit notes, payments and notices."""
        answer: Json = self.http.get(f"/invoices/{invoice}")
        return answer

    def invoice_charges(self, invoice: int, line: int, *, most: int | None = None) -> Iterator[Json]:
        """The charges that a line of an invoice is made of."""
        return self.http.pages(f"/invoices/{invoice}/lines/{line}/charges", most=most)

    def invoice_file(self, invoice: int, target: IO[bytes], format: str = "pdf", language: str = "en") -> int:  # noqa: A002
        """Write an invoice as `pdf` (in `en` or `zh`) or `csv` into an open file. Returns how many bytes it has."""
        return self.http.fetch(f"/invoices/{invoice}/file?format={format}&language={language}", target, timeout_s=120)

    def void_invoice(self, invoice: int, reason: str) -> Json:
        """Operators: take back an invoice of which nothing was paid. Returns the one that takes its place."""
        answer: Json = self.http.post(f"/invoices/{invoice}/void", {"reason": reason})
        return answer

    def give_up_invoice(self, invoice: int, reason: str) -> Json:
        """Operators: what is open of an overdue invoice becomes the platform's loss."""
        answer: Json = self.http.post(f"/invoices/{invoice}/give-up", {"reason": reason})
        return answer

    def credit_invoice(self, invoice: int, lines: Mapping[int, str], reason: str, reference: str) -> Json:
        """Operators: take back amounts (line's number -> decimal text) by a credit note; a reference makes one note."""
        body = {"lines": [{"line": line, "net": net} for line, net in lines.items()], "reason": reason, "reference": reference}
        answer: Json = self.http.post(f"/invoices/{invoice}/credit-notes", body)
        return answer

    def pay_invoice(self, invoice: int, amount: str, reference: str, received_on: str | None = None) -> Json:
        """Operators: record money that came in; the same reference counts once."""
        day = {} if received_on is None else {"received_on": received_on}
        answer: Json = self.http.post(f"/invoices/{invoice}/payments", {"amount": amount, "reference": reference} | day)
        return answer

    def pay_online(self, invoice: int) -> Json:
        """Begin to pay what is open of an invoice at the gateway; while one is open, that one is returned."""
        answer: Json = self.http.post(f"/invoices/{invoice}/gateway-payments", {}, repeatable=True)
        return answer

    def import_bank_statement(self, name: str, content: str) -> Json:
        """Operators: import a bank's CAMT.053 or CSV, whole or not at all."""
        answer: Json = self.http.post("/bank-statements", {"name": name, "content": content})
        return answer

    def bank_lines(self, *, most: int | None = None) -> Iterator[Json]:
        """Operators: what came in and waits for a person."""
        return self.http.pages("/bank-lines", most=most)

    def settle_bank_line(self, line: int, invoice: int | None) -> Json:
        """Operators: say what a line pays; None: it is no payment of ours."""
        answer: Json = self.http.post(f"/bank-lines/{line}/settle", {"invoice": invoice})
        return answer

    def payments(self, *, most: int | None = None) -> Iterator[Json]:
        """The organization's payments (operators: all), newest first; `reversed_at` null: it stands."""
        return self.http.pages("/payments", most=most)

    def reverse_payment(self, payment: int, reason: str, amount: str | None = None) -> Json:
        """Operators: take back a payment that bounced or was a mistake, or an amount of it, once; what it paid is owed again."""
        given = {"reason": reason} | ({} if amount is None else {"amount": amount})
        answer: Json = self.http.post(f"/payments/{payment}/reverse", given, repeatable=True)
        return answer

    def billing_periods(self, *, state: str | None = None, most: int | None = None) -> Iterator[Json]:
        """Operators only: months of accounts, newest first; `state` open, closed, or parked, which wait for an operator."""
        return self.http.pages("/billing-periods", most=most, state=state)

    def free_period(self, period: int, reason: str) -> Json:
        """Operators only: let a parked month go on after mending; `reason` is kept."""
        answer: Json = self.http.post(f"/billing-periods/{period}/free", {"reason": reason})
        return answer

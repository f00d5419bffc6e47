"""Payment gateways: begin a payment there, take its signed word on how it ended. One implementation: a sandbox that moves no money.

    open --> succeeded (a Payment was recorded) | failed        each told once; told again, nothing changes
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing.invoices.payments import Receipt, open_micros, record_payment
from billing.invoices.states import OWED
from billing.models import GatewayPayment, Invoice
from core.errors import Conflict, Invalid, NotAllowed, NotFound
from core.money import text_of, to_micros


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway says of a payment."""

    key: str
    succeeded: bool
    micros: int


class Gateway(Protocol):
    """What the platform asks of a gateway."""

    name: str

    def begin(self, invoice: Invoice, micros: int) -> str:
        """Begin a payment; returns the key under which the gateway knows it."""

    def read(self, body: bytes, signature: str) -> Told:
        """Check a call of the gateway. Raises NotAllowed `callback_unsigned`, Invalid `callback_invalid`."""


class Sandbox:
    """Succeeds or fails as it is told: its calls are signed by HMAC-SHA256 under a key made from the platform's secret."""

    name = "sandbox"

    def begin(self, invoice: Invoice, micros: int) -> str:
        return f"sandbox/{uuid4()}"

    def signature(self, body: bytes) -> str:
        """What the sandbox signs a body with, as hexadecimal digits."""
        key = hashlib.sha256(b"gridfare sandbox gateway" + settings.SECRET_KEY.encode()).digest()
        return hmac.new(key, body, hashlib.sha256).hexdigest()

    def read(self, body: bytes, signature: str) -> Told:
        if not hmac.compare_digest(self.signature(body).encode(), signature.encode()):
            raise NotAllowed("callback_unsigned", "this is not signed by the gateway")
        try:
            told = json.loads(body)
            return Told(told["key"], {"succeeded": True, "failed": False}[told["status"]], to_micros(Decimal(told["amount"])))
        except (ValueError, KeyError, TypeError, InvalidOperation):
            raise Invalid("callback_invalid", "key, status (succeeded, failed) and amount as text", field="status") from None


GATEWAYS: Final[dict[str, Gateway]] = {"sandbox": Sandbox()}


def begin_payment(invoice: Invoice, gateway: str = "sandbox") -> GatewayPayment:
    """Begin to pay what is open of an invoice; while one is open, it is returned. Raises Conflict `invoice_not_owed`."""
    with transaction.atomic():
        held = Invoice.objects.select_for_update().get(pk=invoice.pk)
        if known := GatewayPayment.objects.filter(invoice=held, state="open").first():
            return known
        if held.state not in OWED:
            raise Conflict("invoice_not_owed", "nothing is owed for this invoice", field="invoice")
        micros = open_micros(held)
        key = GATEWAYS[gateway].begin(held, micros)
        return GatewayPayment.objects.create(
            gateway=gateway, key=key, invoice=held, amount_micros=micros, created_at=timezone.now()
        )


def take_word(gateway: str, body: bytes, signature: str) -> GatewayPayment:
    """Take a gateway's word on a payment. The same word again changes nothing; another one is refused.

    Raises NotFound `gateway_unknown | not_found`, Conflict `gateway_conflict`, and what `Gateway.read` raises.
    """
    if gateway not in GATEWAYS:
        raise NotFound("gateway_unknown", "no such gateway")
    told = GATEWAYS[gateway].read(body, signature)
    with transaction.atomic():
        held = GatewayPayment.objects.select_for_update().select_related("invoice").filter(gateway=gateway, key=told.key).first()
        if held is None:
            raise NotFound("not_found", "no such payment")
        state = "succeeded" if told.succeeded else "failed"
        if told.micros != held.amount_micros or held.state not in {"open", state}:
            raise Conflict("gateway_conflict", f"this payment is {held.state}, of {text_of(held.amount_micros)}")
        if held.state == "open":
            _end(held, state)
    return held


def _end(held: GatewayPayment, state: str) -> None:
    if state == "succeeded":
        invoice = held.invoice
        # what was paid otherwise meanwhile leaves this one as prepaid balance
        owed = [invoice.pk] if invoice.state in OWED else []
        receipt = Receipt(
            held.key, invoice.organization_id, invoice.currency, held.amount_micros, "gateway", timezone.now().date(), owed
        )
        held.payment = record_payment(receipt)
    held.state = state
    held.save(update_fields=["state", "payment"])

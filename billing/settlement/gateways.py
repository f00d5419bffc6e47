"""The money's way out: what a gateway promises, and a sandbox that moves none.

An order has a key. The same key again is the same order: a gateway answers it as it did before and moves nothing more. That is
what lets a sender that was killed at any point simply begin again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from django.conf import settings

from billing.models import SandboxTransfer
from core.errors import Conflict


@dataclass(frozen=True, slots=True)
class Order:
    """Send so many micro-units of a currency to a payee (an organization's short name)."""

    key: str
    payee: str
    micros: int
    currency: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`pending`: ask again, under the same key. `paid` and `failed` are final; after `failed` no money moves any more."""

    state: Literal["pending", "paid", "failed"]
    reference: str = ""
    reason: str = ""


class PayoutGateway(Protocol):
    """What the platform asks of whoever moves the money."""

    def transfer(self, order: Order) -> Answer:
        """Send, or say how it went. Raises Conflict `order_conflict` when the key is another order's."""


class Sandbox:
    """Writes down what it was told. Orders to a payee of settings.SANDBOX_REFUSES fail."""

    def transfer(self, order: Order) -> Answer:
        succeeds = order.payee not in settings.SANDBOX_REFUSES
        said = {"payee": order.payee, "amount_micros": order.micros, "currency": order.currency}
        kept, _ = SandboxTransfer.objects.get_or_create(key=order.key, defaults=said | {"succeeded": succeeds})
        if (kept.payee, kept.amount_micros, kept.currency) != (order.payee, order.micros, order.currency):
            raise Conflict("order_conflict", "this key was another order's")
        if kept.succeeded:
            return Answer("paid", f"sandbox-{kept.pk}")
        return Answer("failed", f"sandbox-{kept.pk}", "the sandbox refuses this payee")


GATEWAYS: Final[dict[str, PayoutGateway]] = {"sandbox": Sandbox()}

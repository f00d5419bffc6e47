"""Money that came in: payments, what they paid, bank statements, a gateway's payments, and notices to those who did not pay."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.invoices import Invoice
from billing.models.journal import JournalEntry


class Payment(models.Model):
    """Money received once, for an organization. What no invoice takes of it becomes prepaid balance. Never changed.

    method operator   somebody recorded it          bank      a line of a bank statement
           gateway    a payment gateway confirmed   prepaid   from the prepaid balance
           grant      promotional credit
    """

    class Method(models.TextChoices):
        OPERATOR = "operator"
        BANK = "bank"
        GATEWAY = "gateway"
        PREPAID = "prepaid"
        GRANT = "grant"

    key = models.CharField(max_length=100, unique=True, help_text="names its source, so that it counts once")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=8, choices=Method.choices)
    amount_micros = models.BigIntegerField()
    prepaid_micros = models.BigIntegerField(default=0, help_text="what of it no invoice took")
    reference = models.CharField(max_length=200, blank=True, default="")
    received_on = models.DateField()
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0, prepaid_micros__gte=0), name="payment_is_positive"),
        ]

    def __str__(self) -> str:
        return self.key


class PaymentAllocation(models.Model):
    """What a payment paid of an invoice."""

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="allocations", db_index=False)
    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="allocations")
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["payment", "invoice"], name="allocation_once"),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="allocation_is_positive"),
        ]

    def __str__(self) -> str:
        return f"of payment {self.payment_id} to invoice {self.invoice_id}"


class PaymentReversal(models.Model):
    """That a payment was taken back, whole or in part, and why: it bounced, or was a mistake. Once per payment, never changed.

    A payment from the wallet is only ever reversed with one whose money the wallet had used (`billing/credit/reversing.py`).
    """

    payment = models.OneToOneField(Payment, models.PROTECT, related_name="reversal")
    amount_micros = models.BigIntegerField(help_text="what of the payment was taken back; a trigger keeps it within the payment")
    reason = models.CharField(max_length=300)
    reversed_at = models.DateTimeField()
    reversed_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    with_payment = models.ForeignKey(
        Payment, models.PROTECT, null=True, blank=True, related_name="+", db_index=False,
        help_text="whose money the wallet had used for this one",
    )  # fmt: skip
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(reason=""), name="payment_reversed_for_a_reason"),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="payment_reversal_is_positive"),
        ]

    def __str__(self) -> str:
        return f"reversal of payment {self.payment_id}"


class ReversedAllocation(models.Model):
    """What of an invoice is not paid any more, as the payment was reversed. Less than was allocated where a credit note had
    turned a part into prepaid balance, or a part was reversed. The invoice's `paid` falls by no more than these say: a trigger
    compares.
    """

    allocation = models.OneToOneField(PaymentAllocation, models.PROTECT, related_name="reversed")
    reversal = models.ForeignKey(PaymentReversal, models.PROTECT, related_name="allocations")
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="reversed_allocation_is_positive"),
        ]

    def __str__(self) -> str:
        return f"of allocation {self.allocation_id}"


class BankStatement(models.Model):
    """A bank's file that was imported whole; its digest is why the same file counts once."""

    digest = models.CharField(max_length=64, unique=True)
    format = models.CharField(max_length=10)
    name = models.CharField(max_length=200)
    account = models.CharField(max_length=40, blank=True, default="")
    imported_at = models.DateTimeField()
    imported_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    def __str__(self) -> str:
        return self.name


class BankLine(models.Model):
    """Money that a bank says came in.

    matched  it paid an invoice, or was told to an organization (`payment`)
    queued   one person has to say whose it is: `why` no invoice fits, or more than one
    ignored  a person said that it is no payment of ours
    """

    class State(models.TextChoices):
        MATCHED = "matched"
        QUEUED = "queued"
        IGNORED = "ignored"

    statement = models.ForeignKey(BankStatement, models.PROTECT, related_name="lines", db_index=False)
    number = models.IntegerField()
    reference = models.CharField(max_length=140, unique=True, help_text="the bank's, or made from what the line says")
    booked_on = models.DateField()
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    payer = models.CharField(max_length=200, blank=True, default="")
    remittance = models.CharField(max_length=1000, blank=True, default="")
    state = models.CharField(max_length=7, choices=State.choices)
    why = models.CharField(max_length=40, blank=True, default="")
    payment = models.OneToOneField(Payment, models.PROTECT, null=True, blank=True, related_name="bank_line")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["statement", "number"], name="bank_line_once"),
            models.CheckConstraint(
                condition=Q(state="matched", payment__isnull=False) | Q(payment__isnull=True) & ~Q(state="matched"),
                name="bank_line_matched_is_a_payment",
            ),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="bank_line_is_positive"),
        ]
        indexes: ClassVar = [models.Index(fields=["id"], condition=Q(state="queued"), name="bank_line_queued")]

    def __str__(self) -> str:
        return self.reference


class GatewayPayment(models.Model):
    """A payment that was begun at a gateway: open -> succeeded | failed, told by the gateway's signed call."""

    class State(models.TextChoices):
        OPEN = "open"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    gateway = models.CharField(max_length=20)
    key = models.CharField(max_length=100, unique=True, help_text="under which the gateway knows it")
    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="gateway_payments")
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    payment = models.OneToOneField(Payment, models.PROTECT, null=True, blank=True, related_name="gateway_payment")
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state="succeeded", payment__isnull=False) | Q(payment__isnull=True) & ~Q(state="succeeded"),
                name="gateway_payment_succeeded_is_a_payment",
            ),
            models.UniqueConstraint(fields=["invoice"], condition=Q(state="open"), name="gateway_payment_open_once"),
        ]

    def __str__(self) -> str:
        return self.key


class DunningNotice(models.Model):
    """One step of the ladder that an unpaid invoice climbs; each once. `billing/invoices/dunning.py` holds the ladder."""

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="notices", db_index=False)
    level = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=20)
    owed_micros = models.BigIntegerField()
    noticed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["invoice", "level"], name="notice_once")]

    def __str__(self) -> str:
        return f"level {self.level} of invoice {self.invoice_id}"

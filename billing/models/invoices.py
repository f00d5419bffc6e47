"""Months of accounts and their invoices. `billing/invoices/states.py` draws the states; triggers keep them.

    BillingPeriod  one organization x currency x local month
      `- Invoice   what is asked for it; after `void` another one takes its place
           |- InvoiceLine     rounded once each; InvoicedCharge says which charges a line is made of
           |- InvoiceTax      one per rate, computed on the sum of the lines
           `- CreditNote      what was taken back later, as rows of its own

All amounts are micro-units and whole multiples of the currency's minor unit, but for those called exact, carried or dropped.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.charges import Charge
from billing.models.journal import JournalEntry
from billing.models.periods import PeriodCharge
from billing.models.taxes import TaxRate


class BillingPeriod(models.Model):
    """A calendar month of an account, [starts_at, ends_at), in the zone of its contract. Months of an account never overlap.

    open    it runs, or it is over and nobody has closed it yet
    closed  its invoice was drawn, from what was known before `cutoff`
    parked  something impossible was met (`parked_code`): nothing happens until an operator frees it, saying why (`FreedPeriod`)

    The arrows are in billing/invoices/freeing.py; a trigger keeps to them.
    """

    class State(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"
        PARKED = "parked"

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    zone = models.CharField(max_length=50)
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    cutoff = models.DateTimeField(null=True, blank=True)
    parked_code = models.CharField(max_length=40, blank=True, default="")
    parked_detail = models.CharField(max_length=300, blank=True, default="")
    freed_count = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="how often it was freed")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "currency", "starts_at"], name="period_once"),
            models.CheckConstraint(condition=Q(starts_at__lt=F("ends_at")), name="period_lasts"),
            models.CheckConstraint(
                condition=Q(state="closed", cutoff__gte=F("ends_at")) | ~Q(state="closed"), name="period_closed_after_its_end"
            ),
            models.CheckConstraint(
                condition=Q(state="parked") & ~Q(parked_code="") | ~Q(state="parked") & Q(parked_code=""),
                name="period_parked_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency} of {self.organization_id} from {self.starts_at:%Y-%m-%d}"


class FreedPeriod(models.Model):
    """That a parked month was let go on: what it had been parked for, and what was mended. Never changed."""

    period = models.ForeignKey(BillingPeriod, models.PROTECT, related_name="freed", db_index=False)
    number = models.PositiveSmallIntegerField(help_text="1, 2, 3 ... within its month")
    parked_code = models.CharField(max_length=40)
    parked_detail = models.CharField(max_length=300)
    reason = models.CharField(max_length=300)
    freed_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    freed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["period", "number"], name="freed_once_each"),
            models.CheckConstraint(condition=~Q(reason=""), name="freed_for_a_reason"),
        ]

    def __str__(self) -> str:
        return f"month {self.period_id}, freed ({self.number})"


class Series(models.Model):
    """A run of numbers without a gap: the next is taken by the transaction that uses it.

    kind invoice | credit_note; `last` is the last number taken, and only ever grows, by a trigger.
    """

    issuer = models.CharField(max_length=10)
    kind = models.CharField(max_length=12)
    year = models.PositiveSmallIntegerField()
    last = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "series"
        constraints: ClassVar = [models.UniqueConstraint(fields=["issuer", "kind", "year"], name="series_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.issuer} {self.year}"


class Invoice(models.Model):
    """What an account owes for a month. From `finalized` on only what happens to it changes, never what it says.

    exact        the sum of its charges                                carried_in    what earlier rounding left over
    net          the sum of its lines, each rounded once               carried_out   what this rounding leaves to the next
    tax          the sum of its taxes, each rounded once               dropped       or what it drops, by contract
    total        net + tax                                             net = exact + carried_in - carried_out - dropped
    paid, credited   so far: by payments, by credit notes
    """

    class State(models.TextChoices):
        GATHERING = "gathering"
        DRAFT = "draft"
        GRACE = "grace"
        FINALIZED = "finalized"
        OVERDUE = "overdue"
        PAID = "paid"
        VOID = "void"
        UNCOLLECTIBLE = "uncollectible"

    period = models.ForeignKey(BillingPeriod, models.PROTECT, related_name="invoices")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    minor_micros = models.IntegerField(help_text="the currency's minor unit")
    state = models.CharField(max_length=13, choices=State.choices, default=State.GATHERING)
    series = models.ForeignKey(Series, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    sequence = models.BigIntegerField(null=True, blank=True)
    number = models.CharField(max_length=30, null=True, blank=True, unique=True)
    grace_until = models.DateTimeField(null=True, blank=True)
    due_days = models.PositiveSmallIntegerField(default=0)
    carries_remainder = models.BooleanField(default=True)
    cutoff = models.DateTimeField(null=True, blank=True, help_text="its lines hold what was charged before this moment")
    exact_micros = models.BigIntegerField(default=0)
    carried_in_micros = models.BigIntegerField(default=0)
    carried_out_micros = models.BigIntegerField(default=0)
    dropped_micros = models.BigIntegerField(default=0)
    net_micros = models.BigIntegerField(default=0)
    tax_micros = models.BigIntegerField(default=0)
    total_micros = models.BigIntegerField(default=0)
    paid_micros = models.BigIntegerField(default=0)
    credited_micros = models.BigIntegerField(default=0)
    bill_to = models.JSONField(
        default=dict, blank=True, help_text="{name, slug, address, tax_number} as they were when it was issued"
    )
    issuer = models.JSONField(default=dict, blank=True, help_text="{name, address, tax_number} of who issued it, as they were then")
    entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    finalized_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="paid, void, or given up")
    reason = models.CharField(max_length=300, blank=True, default="", help_text="why it is void, or given up")
    replaces = models.OneToOneField("self", models.PROTECT, null=True, blank=True, related_name="replaced_by")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["period"], condition=~Q(state="void"), name="invoice_once_per_period"),
            models.UniqueConstraint(fields=["series", "sequence"], name="invoice_number_once"),
            models.CheckConstraint(condition=Q(total_micros=F("net_micros") + F("tax_micros")), name="invoice_adds_tax"),
            models.CheckConstraint(
                condition=Q(
                    net_micros=F("exact_micros") + F("carried_in_micros") - F("carried_out_micros") - F("dropped_micros")
                ),
                name="invoice_accounts_for_rounding",
            ),
            models.CheckConstraint(
                condition=Q(paid_micros__gte=0, credited_micros__gte=0, total_micros__gte=0)
                & Q(total_micros__gte=F("paid_micros") + F("credited_micros")),
                name="invoice_is_paid_once",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["gathering", "draft", "grace"], number__isnull=True, finalized_at__isnull=True)
                | Q(number__isnull=False, finalized_at__isnull=False, due_at__isnull=False, sequence__gt=0)
                & ~Q(state__in=["gathering", "draft", "grace"]),
                name="invoice_is_numbered_when_final",
            ),
            models.CheckConstraint(
                condition=~Q(state="paid") | Q(total_micros=F("paid_micros") + F("credited_micros")), name="invoice_paid_is_paid"
            ),
            models.CheckConstraint(
                condition=~Q(state="void") | Q(paid_micros=0, credited_micros=0), name="invoice_void_was_not_paid"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["paid", "void", "uncollectible"], ended_at__isnull=False)
                | Q(ended_at__isnull=True) & ~Q(state__in=["paid", "void", "uncollectible"]),
                name="invoice_ends_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "id"], name="invoice_of_organization"),
            models.Index(fields=["id"], condition=Q(state="gathering"), name="invoice_gathering"),
            models.Index(fields=["grace_until", "id"], condition=Q(state="grace"), name="invoice_in_grace"),
            models.Index(fields=["due_at", "id"], condition=Q(state__in=["finalized", "overdue"]), name="invoice_to_be_paid"),
        ]

    def __str__(self) -> str:
        return self.number or f"{self.state} {self.pk}"


class InvoiceLine(models.Model):
    """One line: rounded once, half up on the absolute value. Part of an invoice that freezes with it.

    kind usage      charges of usage: one service month, capability, pool and basis
    kind fee        publishers' fees for delivered tasks: one service month and capability
    kind sla        what providers give back for promises that they did not keep: one service month and capability
    kind period     charges of a whole month: peaks, minimum, maximum
    kind remainder  what the rounding of this and earlier lines left over, once it is a minor unit
    kind rounding   what is dropped of it, by contract
    is_correction   the service was of an earlier month, whose invoice was closed when its charge came
    """

    class Kind(models.TextChoices):
        USAGE = "usage"
        FEE = "fee"
        PERIOD = "period"
        SLA = "sla"
        REMAINDER = "remainder"
        ROUNDING = "rounding"

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="lines", db_index=False)
    number = models.IntegerField(help_text="1, 2, 3 ... within its invoice")
    kind = models.CharField(max_length=9, choices=Kind.choices)
    is_correction = models.BooleanField(default=False)
    service_from = models.DateTimeField()
    service_to = models.DateTimeField()
    capability = models.ForeignKey(
        "marketplace.Capability", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    basis = models.CharField(max_length=20, blank=True, default="", help_text="of the offer, or the meter of a peak")
    charges = models.IntegerField(default=0, help_text="how many it is made of")
    quantities = models.JSONField(default=dict, blank=True, help_text="{meter: quantity}, decimal text")
    exact_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField(default=0, help_text="its part of the invoice's taxes")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["invoice", "number"], name="invoice_line_once"),
            models.CheckConstraint(condition=Q(number__gt=0, service_from__lt=F("service_to")), name="invoice_line_has_a_time"),
        ]

    def __str__(self) -> str:
        return f"line {self.number} of invoice {self.invoice_id}"


class InvoicedCharge(models.Model):
    """A charge stands in one line of one invoice: its primary key is why it cannot be invoiced twice.

    No foreign keys in PostgreSQL: charges cannot go away, lines are kept by a trigger; a check per row would double the cost.
    """

    charge = models.OneToOneField(Charge, models.PROTECT, primary_key=True, related_name="invoiced", db_constraint=False)
    line = models.ForeignKey(InvoiceLine, models.PROTECT, related_name="invoiced", db_constraint=False)

    def __str__(self) -> str:
        return f"charge {self.charge_id}"


class InvoicedPeriod(models.Model):
    """A charge of a whole month stands in one line of one invoice, as `InvoicedCharge` says of a task's."""

    charge = models.OneToOneField(PeriodCharge, models.PROTECT, primary_key=True, related_name="invoiced", db_constraint=False)
    line = models.ForeignKey(InvoiceLine, models.PROTECT, related_name="invoiced_periods", db_constraint=False)

    def __str__(self) -> str:
        return f"period charge {self.charge_id}"


class InvoiceTax(models.Model):
    """One rate of tax on an invoice: computed on the sum of its lines, rounded once."""

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="taxes", db_index=False)
    rate = models.ForeignKey(TaxRate, models.PROTECT, related_name="+", db_index=False)
    percent = models.DecimalField(max_digits=7, decimal_places=4)
    base_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "invoice taxes"
        constraints: ClassVar = [models.UniqueConstraint(fields=["invoice", "rate"], name="invoice_tax_once")]

    def __str__(self) -> str:
        return f"{self.percent} % on invoice {self.invoice_id}"


class CreditNote(models.Model):
    """What is taken back of an invoice: a document of its own with a number of its own. Never changed.

    The platform bears it: what its parties were credited for the work stays theirs.
    """

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="credit_notes")
    series = models.ForeignKey(Series, models.PROTECT, related_name="+", db_index=False)
    sequence = models.BigIntegerField()
    number = models.CharField(max_length=30, unique=True)
    key = models.CharField(max_length=100, unique=True, help_text="names its cause, so that asking twice makes one")
    net_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField()
    prepaid_micros = models.BigIntegerField(help_text="what of it was paid already, and became prepaid balance")
    reason = models.CharField(max_length=300)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    issued_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "sequence"], name="credit_note_number_once"),
            models.CheckConstraint(
                condition=Q(net_micros__gte=0, tax_micros__gte=0, prepaid_micros__gte=0), name="credit_note_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.number


class CreditNoteLine(models.Model):
    """What is taken back of one line."""

    note = models.ForeignKey(CreditNote, models.PROTECT, related_name="lines", db_index=False)
    line = models.ForeignKey(InvoiceLine, models.PROTECT, related_name="credited")
    net_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["note", "line"], name="credit_note_line_once"),
            models.CheckConstraint(condition=Q(net_micros__gt=0, tax_micros__gte=0), name="credit_note_line_is_positive"),
        ]

    def __str__(self) -> str:
        return f"of line {self.line_id}"

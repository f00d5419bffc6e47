"""What is charged when a month is over: subjects, their charges, previews of the open month, and what is parked."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Func, Q

from billing.models.journal import JournalEntry


class Payer(models.TextChoices):
    """Who pays for what was charged by period."""

    USER = "user"
    PLATFORM = "platform"


_WHO: Final[dict[str, Any]] = {"choices": Payer.choices, "max_length": 8}


def one_list(name: str) -> models.CheckConstraint:
    """What is priced is priced by a pool's price list or by a capability's fees."""
    either = Q(offer__isnull=False, version__isnull=True) | Q(offer__isnull=True, version__isnull=False)
    return models.CheckConstraint(condition=either, name=name)


def named_list(row: PeriodSubject | PeriodCharge | PeriodPreview) -> str:
    """The price list of a row, by its number."""
    return f"offer {row.offer_id}" if row.offer_id else f"the fees of version {row.version_id}"


class PeriodSubject(models.Model):
    """What is priced as one quantity: a meter of a customer under one price list, by who pays. Never changed.

    The price list is a pool's `offer`, or the fees by month of a capability's `version`.
    """

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    offer = models.ForeignKey("marketplace.Offer", models.PROTECT, null=True, blank=True, related_name="+")
    version = models.ForeignKey("marketplace.CapabilityVersion", models.PROTECT, null=True, blank=True, related_name="+")
    meter = models.CharField(max_length=64)
    payer = models.CharField(**_WHO)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "offer", "version", "meter", "payer"], name="period_subject_once", nulls_distinct=False
            ),
            one_list("period_subject_has_one_list"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} of {self.organization_id} under {named_list(self)}"


class PeriodCharge(models.Model):
    """What a subject costs for a month. Never changed: late or corrected usage adds a revision with the difference.

    Of a pool's price list the provider has a share, of a capability's fees the publisher; the platform has one of both. The parties
    and the platform's share are the base's for ever: a trigger keeps them so.

    period            [from, to): the service period in the customer's zone; revisions keep it
    revision, base    0 is the base, of which there is one per subject and time; a revision names the base it goes on from
    refunds           of a revision that a decided dispute made: the charge that it takes back from; null: usage made it
    cutoff            facts that were recorded later were not seen; the same cutoff gives the same amounts
    raw, billed       what was measured and what was priced, cumulative, in the meter's unit
    precise           the cumulative amount, twelve decimals; `total_micros` is it in micros, rounded once, less what was refunded
    amount_micros     what this row adds: `total_micros` less that of the revision before; shares likewise
    basis_points      the platform's share; corrections keep the base's
    lines             [{kind, quantity, unit_price, amount}] of the cumulative amount, decimal text
    evidence          how the quantity came about; the rest is found again by GET /period-charges/{id}/evidence
    digest            SHA-256 of the facts, in hexadecimal
    """

    Payer: ClassVar = Payer
    SHOWN: ClassVar = ("organization", "provider", "publisher", "offer__pool", "version__capability__organization", "entry")

    subject = models.ForeignKey(PeriodSubject, models.PROTECT, related_name="charges", db_index=False)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    provider = models.ForeignKey(
        "marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    publisher = models.ForeignKey(
        "marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    offer = models.ForeignKey("marketplace.Offer", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    version = models.ForeignKey(
        "marketplace.CapabilityVersion", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    contract = models.ForeignKey("marketplace.Contract", models.PROTECT, null=True, related_name="+", db_index=False)
    meter = models.CharField(max_length=64)
    payer = models.CharField(**_WHO)
    period = DateTimeRangeField(help_text="[from, to)")
    zone = models.CharField(max_length=50)
    revision = models.PositiveSmallIntegerField(default=0)
    base = models.ForeignKey("self", models.PROTECT, null=True, related_name="revisions", db_index=False)
    refunds = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="refunded", db_index=False)
    cutoff = models.DateTimeField()
    raw = models.DecimalField(max_digits=42, decimal_places=12)
    billed = models.DecimalField(max_digits=42, decimal_places=12)
    currency = models.CharField(max_length=3)
    precise = models.DecimalField(max_digits=30, decimal_places=12)
    total_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    provider_micros = models.BigIntegerField()
    publisher_micros = models.BigIntegerField(default=0, db_default=0)
    platform_micros = models.BigIntegerField()
    basis_points = models.PositiveSmallIntegerField()
    lines = models.JSONField()
    evidence = models.JSONField()
    digest = models.CharField(max_length=64)
    algorithm = models.CharField(max_length=20)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="period_charges")
    rated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="period_charged_once",
                expressions=[
                    (Func("subject_id", "subject_id", models.Value("[]"), function="int8range"), "&&"),
                    ("period", "&&"),
                ],
                condition=Q(revision=0),
            ),
            models.UniqueConstraint(fields=["base", "revision"], name="period_revision_once"),
            models.CheckConstraint(
                condition=Q(revision=0, base__isnull=True) | Q(revision__gt=0, base__isnull=False),
                name="period_revision_names_its_base",
            ),
            models.CheckConstraint(
                condition=Q(amount_micros=F("provider_micros") + F("publisher_micros") + F("platform_micros")),
                name="period_split_adds_up",
            ),
            one_list("period_charge_has_one_list"),
            models.CheckConstraint(
                condition=Q(offer__isnull=False, provider__isnull=False, publisher__isnull=True, publisher_micros=0)
                | Q(offer__isnull=True, provider__isnull=True, publisher__isnull=False, provider_micros=0),
                name="period_share_has_its_payee",
            ),
            models.CheckConstraint(
                condition=Q(total_micros__gte=0) & (Q(revision__gt=0) | Q(amount_micros=F("total_micros"))),
                name="period_total_is_not_negative",
            ),
            models.CheckConstraint(condition=Q(amount_micros=0) | Q(entry__isnull=False), name="period_with_money_is_posted"),
            models.CheckConstraint(
                condition=Q(refunds__isnull=True) | Q(revision__gt=0, amount_micros__lt=0), name="period_refund_is_below_zero"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "rated_at"], name="period_charge_of_org"),
            models.Index(fields=["provider", "rated_at"], name="period_charge_of_provider"),
            models.Index(fields=["publisher", "rated_at"], name="period_charge_of_publisher", condition=Q(publisher__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"period charge {self.pk}: {self.amount_micros} micros of {self.currency}"

    @property
    def pool(self) -> str | None:
        """The pool whose price list this is of; a capability's fees are of none."""
        return self.offer.pool.identifier if self.offer else None

    @property
    def payee(self) -> str:
        """Who has the share that the platform does not keep, and answers when it is disputed."""
        owner = self.provider or self.publisher
        return owner.slug if owner else ""

    @property
    def capability(self) -> str | None:
        """The version whose fees these are, `carol/render@1.0.0`."""
        return str(self.version) if self.version else None


class BudgetedPeriod(models.Model):
    """How much of a charge by period a budget counts. Written with the charge, or when the budget is opened; never changed.

    A budget of the whole organization counts all of it, others the part of the tasks they count, by the core time that these
    held under the price list in that month, whole micros cut off.
    """

    budget = models.ForeignKey("marketplace.Budget", models.PROTECT, related_name="+", db_index=False)
    charge = models.ForeignKey(PeriodCharge, models.PROTECT, related_name="+", db_index=False)
    micros = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["budget", "charge"], name="budgeted_period_once")]

    def __str__(self) -> str:
        return f"{self.micros} micros of period charge {self.charge_id}"


class PeriodPreview(models.Model):
    """What a month would cost if it ended now: rewritten every night, posted never. One per subject and month."""

    organization = models.ForeignKey("marketplace.Organization", models.CASCADE, related_name="+", db_index=False)
    offer = models.ForeignKey("marketplace.Offer", models.CASCADE, null=True, blank=True, related_name="+", db_index=False)
    version = models.ForeignKey(
        "marketplace.CapabilityVersion", models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
    meter = models.CharField(max_length=64)
    payer = models.CharField(**_WHO)
    period = DateTimeRangeField(help_text="[from, to)")
    billed = models.DecimalField(max_digits=42, decimal_places=12)
    currency = models.CharField(max_length=3)
    total_micros = models.DecimalField(max_digits=40, decimal_places=0)
    digest = models.CharField(max_length=64)
    cutoff = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "period", "offer", "version", "meter", "payer"],
                name="period_preview_once",
                nulls_distinct=False,
            ),
            one_list("period_preview_has_one_list"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} of {self.organization_id} so far"

    pool = PeriodCharge.pool
    capability = PeriodCharge.capability


class RatedMonth(models.Model):
    """Up to when a customer's usage was rated: `month`, and those before it, have seen all that was recorded before `cutoff`.

    Rewritten with each rating of a month that is over, in its transaction, whether or not it changed an amount: what is older than
    the mark is not looked at again.
    """

    organization = models.OneToOneField("marketplace.Organization", models.CASCADE, primary_key=True, related_name="+")
    month = models.DateField(help_text="its first day")
    cutoff = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(month__day=1), name="rated_month_is_its_first_day")]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} of {self.organization_id} until {self.cutoff.isoformat()}"


class ParkedPeriod(models.Model):
    """An amount that is not posted until an operator decides. Nothing is guessed.

        OPEN ──► APPROVED    the next run posts exactly these facts (the digest) for this amount
          └────► REFUSED     these facts are never posted; other facts are looked at anew

    reason bound      more than a charge may come to: a wrong price rather than a bill
    reason negative   the cumulative amount is negative, which no usage can be
    reason unknown    too many slots that nobody can vouch for
    reason late       usage came after the months that are corrected without asking
    """

    class Reason(models.TextChoices):
        BOUND = "bound"
        NEGATIVE = "negative"
        UNKNOWN = "unknown"
        LATE = "late"

    class State(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        REFUSED = "refused"

    MOVES: Final = {"open": {"approved", "refused"}, "approved": set(), "refused": set()}

    subject = models.ForeignKey(PeriodSubject, models.PROTECT, related_name="parked", db_index=False)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    period = DateTimeRangeField(help_text="[from, to)")
    reason = models.CharField(max_length=10, choices=Reason.choices)
    total_micros = models.DecimalField(max_digits=60, decimal_places=0, help_text="the cumulative amount")
    before_micros = models.BigIntegerField(help_text="what is charged already")
    billed = models.DecimalField(max_digits=60, decimal_places=12)
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    parked_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "period", "digest", "total_micros"], name="parked_once"),
            models.CheckConstraint(
                condition=Q(state="open", decided_at__isnull=True) | (~Q(state="open") & Q(decided_at__isnull=False)),
                name="parked_decided_has_date",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason}: {self.total_micros} micros"

"""What providers bring: regions, pools, their agents, and the prices they ask."""

from __future__ import annotations

from typing import ClassVar, Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Coalesce

from core.ids import uuid7


class Region(models.Model):
    """A place on the map. The 31 provinces carry their GB/T 2260 code; operators may add others."""

    code = models.SlugField(max_length=32, unique=True, help_text="for example ningxia")
    gb_code = models.CharField(max_length=6, unique=True, null=True, blank=True, help_text="GB/T 2260, six digits")
    name = models.CharField(max_length=100)
    name_zh = models.CharField(max_length=100)
    latitude = models.DecimalField(max_digits=8, decimal_places=5)
    longitude = models.DecimalField(max_digits=8, decimal_places=5)
    carbon_g_per_kwh = models.FloatField(null=True, blank=True, help_text="of electricity; see marketplace/carbon.py")
    carbon_by_hour = models.JSONField(default=list, blank=True, help_text="24 factors, local hours; [] for a flat day")

    class Meta:
        ordering: ClassVar = ["gb_code", "code"]

    def __str__(self) -> str:
        return self.code


class Pool(models.Model):
    """Machines of one provider at one place, reached through one agent.

        REGISTERED ──► ENROLLED ──► VERIFIED ──► ACTIVE ◄──► DRAINING
                          an agent     the self-    takes       finishes what it has
                          has joined   test passed  work

    Every state but RETIRED may become SUSPENDED (an operator's word) or RETIRED (the owner's, for ever);
    SUSPENDED goes back to VERIFIED. Free capacity is never stored: it is what the pool declares minus its
    live leases, computed when asked.
    """

    class State(models.TextChoices):
        REGISTERED = "registered"
        ENROLLED = "enrolled"
        VERIFIED = "verified"
        ACTIVE = "active"
        DRAINING = "draining"
        SUSPENDED = "suspended"
        RETIRED = "retired"

    MOVES: Final = {
        "registered": {"enrolled", "suspended", "retired"},
        "enrolled": {"enrolled", "verified", "suspended", "retired"},
        "verified": {"verified", "enrolled", "active", "suspended", "retired"},
        "active": {"enrolled", "draining", "suspended", "retired"},
        "draining": {"enrolled", "active", "suspended", "retired"},
        "suspended": {"verified", "retired"},
        "retired": set(),
    }

    class Kind(models.TextChoices):
        GENERAL = "general", "general 通用"
        INTELLIGENT = "intelligent", "intelligent 智算"
        SUPER = "super", "super 超算"
        COMMUNITY = "community", "community 社会闲散"

    class Tier(models.TextChoices):
        CLOUD = "cloud"
        EDGE = "edge"
        END = "end"

    class Benchmark(models.TextChoices):
        SI2K = "si2k", "SPECint2000"
        HEPSPEC = "hepspec", "HEP-SPEC06"
        HEPSCORE23 = "hepscore23", "HEPScore23"

    INSTRUCTION_SETS: Final = ["x86_64", "aarch64", "riscv64", "loongarch64"]

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="pools")
    region = models.ForeignKey(Region, models.PROTECT, related_name="pools")
    identifier = models.CharField(
        max_length=40, unique=True, help_text="算力标识: region, kind, serial, check character; never reused"
    )
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.GENERAL)
    tier = models.CharField(max_length=6, choices=Tier.choices, default=Tier.CLOUD)
    state = models.CharField(max_length=10, choices=State.choices, default=State.REGISTERED)
    # declared by the owner, confirmed by the agent's facts
    instruction_set = models.CharField(max_length=12, default="x86_64")
    cores = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    disk_mib = models.PositiveIntegerField(default=0)
    accelerators = models.JSONField(default=list, blank=True, help_text="[{model, count, memory_mib}]")
    executors = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    # declared, for usage records of computing centres; what a core does by a benchmark of HEP (docs/billing/exports.md)
    benchmark = models.CharField(max_length=10, choices=Benchmark.choices, blank=True, default="", db_default="")
    benchmark_per_core = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    # measured by the agent's self-test
    fp32_mflops = models.BigIntegerField(default=0, help_text="whole pool, FP32, measured")
    memory_mbps = models.PositiveIntegerField(default=0)
    disk_mbps = models.PositiveIntegerField(default=0)
    bandwidth_mbps = models.PositiveIntegerField(default=1000, help_text="to the platform's store, declared")
    selftest = models.JSONField(default=list, blank=True, help_text="[{code, status, measured, needed, hint}]")
    allow_organizations = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    deny_organizations = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    # the owner wants the machine back: from the notice on nothing new, at `reclaim_at` nothing at all
    reclaim_at = models.DateTimeField(null=True, blank=True)
    reclaim_until = models.DateTimeField(null=True, blank=True, help_text="then it works again; empty: when the owner says so")
    reclaimed_by = models.CharField(max_length=5, blank=True, default="", help_text="owner or agent: who may end it")
    created_at = models.DateTimeField(auto_now_add=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    # its results were wrong (scheduler/services/judging.py): no work until then, afterwards one checked unit at a time
    quarantined_until = models.DateTimeField(null=True, blank=True)
    quarantine_reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    quarantines = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="so far; each doubles the next")
    daily_quota = models.PositiveIntegerField(null=True, blank=True, help_text="units a day; empty is no limit")
    quota_day = models.DateField(null=True, blank=True, editable=False)
    quota_used = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # L0 to L4, from self-test, benchmark and record (scheduler/verification/levels.py)
    level = models.PositiveSmallIntegerField(default=0, db_default=0)
    level_until = models.DateTimeField(null=True, blank=True)
    level_reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    selftest_at = models.DateTimeField(null=True, blank=True, help_text="last passed")
    audited_until = models.DateTimeField(null=True, blank=True, help_text="somebody independent has looked at it")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="pool_name_once_per_owner"),
            models.CheckConstraint(
                condition=Q(state__in=["registered", "suspended", "retired"]) | Q(cores__gt=0),
                name="pool_enrolled_has_cores",
            ),
            models.CheckConstraint(
                condition=Q(reclaim_at__isnull=True, reclaim_until__isnull=True, reclaimed_by="")
                | Q(reclaim_at__isnull=False, reclaimed_by__in=["owner", "agent"]),
                name="pool_reclaimed_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(benchmark="", benchmark_per_core__isnull=True)
                | Q(benchmark__in=["si2k", "hepspec", "hepscore23"], benchmark_per_core__isnull=False, benchmark_per_core__gt=0),
                name="pool_benchmark_has_a_value",
            ),
        ]

    def __str__(self) -> str:
        return self.identifier


class Agent(models.Model):
    """The provider's program that serves one pool. A new machine for the pool replaces the old agent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    pool = models.ForeignKey(Pool, models.CASCADE, related_name="agents")
    public_key = models.CharField(max_length=44, help_text="Ed25519, base64 of 32 bytes")
    name = models.CharField(max_length=100)
    version = models.CharField(max_length=40)
    facts = models.JSONField(default=dict)
    status = models.JSONField(default=dict, blank=True, help_text="load, free capacity, temperature, power, as last told")
    status_at = models.DateTimeField(null=True, blank=True)
    store_mib = models.PositiveIntegerField(default=0, db_default=0, help_text="offered for copies of artifacts")
    session = models.UUIDField(null=True, blank=True, help_text="of the agent's present process")
    seen_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True, help_text="all leases it named run out then")
    report_seq = models.BigIntegerField(default=0, help_text="last batch of reports adopted")
    report_digest = models.CharField(max_length=64, default="", blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["pool"], condition=Q(retired_at__isnull=True), name="pool_has_one_agent"
            ),
            models.UniqueConstraint(fields=["public_key", "pool"], name="agent_key_once_per_pool"),
        ]
        indexes: ClassVar = [
            # asked every few seconds by the sweep that ends leases
            models.Index(fields=["lease_until"], condition=Q(retired_at__isnull=True), name="agent_lease_until")
        ]

    def __str__(self) -> str:
        return self.name


class JoinToken(models.Model):
    """Lets one agent join one pool, once, within minutes. Only its hash is kept."""

    pool = models.ForeignKey(Pool, models.CASCADE, related_name="join_tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey("User", models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    agent = models.ForeignKey(Agent, models.SET_NULL, null=True, blank=True)


_CUSTOMER: Final = Coalesce("customer_id", models.Value(0), output_field=models.BigIntegerField())


class Offer(models.Model):
    """A pool's price list for a period. Periods never overlap; an offer that priced a task never changes.

    basis consumption   core_second, accelerator_second, fp32_tflop, gb_moved
    basis occupancy     occupancy_second: a second of one core held (wall time of what was held)
    basis result        result: one valid unit
    basis daily_peak    held_cores, held_accelerators: the most that was held at once, each day
    basis monthly_peak  the same of the month; `rules.peak` says which statistic

    A flat list is charged task by task. Whatever needs a month's quantity (peaks, tiers, minima, quanta) is charged when
    the month is over: `per_period`. docs/billing/prices.md has the members of `rules`.

    A list with a `customer` is that organization's own price at the pool: it stands in the place of the list for everybody
    while it is in force, and is always charged by month.

    A list with dynamic rates prices nothing itself: each round that places units by it leaves a frozen list with plain prices,
    whose `origin` it is (services/round_prices.py).
    """

    class Basis(models.TextChoices):
        CONSUMPTION = "consumption"
        OCCUPANCY = "occupancy"
        RESULT = "result"
        DAILY_PEAK = "daily_peak"
        MONTHLY_PEAK = "monthly_peak"

    pool = models.ForeignKey(Pool, models.PROTECT, related_name="offers")
    customer = models.ForeignKey(
        "marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    basis = models.CharField(max_length=12, choices=Basis.choices)
    currency = models.CharField(max_length=3, default="CNY")
    valid = DateTimeRangeField(help_text="[from, to)")
    used = models.BooleanField(default=False, help_text="has priced an attempt; from then on immutable")
    per_period = models.BooleanField(default=False, help_text="charged when the month is over")
    rules = models.JSONField(default=dict, blank=True, help_text="peak policy, cap, quantum and minimum, events")
    origin = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    round = models.BigIntegerField(null=True, blank=True, help_text="which round's prices these are, of a list with dynamic rates")
    market = models.JSONField(null=True, blank=True, help_text="what that round's prices follow from")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            # a scalar needs no btree_gist when it is written as a one-element range
            ExclusionConstraint(
                name="offer_periods_do_not_overlap",
                expressions=[
                    (Func("pool_id", "pool_id", models.Value("[]"), function="int8range"), "&&"),
                    (Func(_CUSTOMER, _CUSTOMER, models.Value("[]"), function="int8range"), "&&"),
                    ("valid", "&&"),
                ],
                condition=Q(origin__isnull=True),
            ),
            models.UniqueConstraint(fields=["origin", "round"], name="offer_once_per_round"),
            models.CheckConstraint(
                condition=Q(origin__isnull=True, round__isnull=True, market__isnull=True)
                | Q(origin__isnull=False, round__isnull=False, market__isnull=False, per_period=False, valid__isempty=True),
                name="offer_of_round_is_never_listed",
            ),
            models.CheckConstraint(
                condition=Q(customer__isnull=True) | Q(per_period=True), name="offer_of_customer_is_per_period"
            ),
            models.CheckConstraint(
                condition=Q(basis__in=["consumption", "occupancy", "result", "daily_peak", "monthly_peak"]),
                name="offer_basis_known",
            ),
            models.CheckConstraint(
                condition=Q(per_period=True) | Q(rules={}) & ~Q(basis__endswith="_peak"), name="offer_with_rules_is_per_period"
            ),
        ]
        indexes: ClassVar = [
            # charging: the own prices of the customers at hand; nobody else's are in it
            models.Index(fields=["customer", "pool"], name="offer_of_customer", condition=Q(customer__isnull=False)),
            # what pools show, however many rounds have frozen prices of it
            models.Index(fields=["pool"], name="offer_listed", condition=Q(origin__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.pool_id}/{self.basis}"


class Rate(models.Model):
    """One unit price of an offer, in the currency per unit of the meter.

    An offer by period has a `document` (tiers, packages, minima ...); `unit_price` is then what quotes count with. So has a dynamic
    rate (marketplace/dynamic.py), and its `unit_price` is the ceiling.
    """

    class Meter(models.TextChoices):
        CORE_SECOND = "core_second"
        ACCELERATOR_SECOND = "accelerator_second"
        FP32_TFLOP = "fp32_tflop"
        GB_MOVED = "gb_moved"
        OCCUPANCY_SECOND = "occupancy_second"
        RESULT = "result"
        HELD_CORES = "held_cores"
        HELD_ACCELERATORS = "held_accelerators"
        SURCHARGE = "surcharge"

    METERS_OF: Final = {
        "consumption": {"core_second", "accelerator_second", "fp32_tflop", "gb_moved"},
        "occupancy": {"occupancy_second", "gb_moved"},
        "result": {"result", "gb_moved"},
        "daily_peak": {"held_cores", "held_accelerators", "gb_moved"},
        "monthly_peak": {"held_cores", "held_accelerators", "gb_moved"},
    }

    offer = models.ForeignKey(Offer, models.CASCADE, related_name="rates")
    meter = models.CharField(max_length=64, help_text="one of Meter, or one that the pool itself reports")
    unit_price = models.DecimalField(max_digits=30, decimal_places=12)
    document = models.JSONField(null=True, blank=True, help_text="the rate, where it is charged by period or dynamic")
    of_round = models.BooleanField(default=False, db_default=False, help_text="of an offer that a round froze")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["offer", "meter"], name="rate_once_per_meter"),
            models.CheckConstraint(condition=Q(unit_price__gte=0), name="rate_is_not_negative"),
        ]
        indexes: ClassVar = [models.Index(fields=["id"], name="rate_listed", condition=Q(of_round=False))]

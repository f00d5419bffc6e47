"""Step 1 of the river, submit: a request becomes a task, or an error that names the field at fault.

Nothing is written before everything is checked; then task, input files and the first event are one transaction.
An idempotency key makes the submit repeatable: same body, same task; another body is refused.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from semantic_version import Version

from core.errors import Conflict, Invalid, NotAllowed
from core.wake import wake
from marketplace.inputs import artifact_fields, validate_inputs
from marketplace.models import (
    ApiKey,
    Artifact,
    CapabilityVersion,
    Organization,
    Region,
    Task,
    TaskArtifact,
    User,
)
from marketplace.policies import Policy, parse_policy, strengthen
from marketplace.services.artifacts import resolve_artifacts
from marketplace.splitting import plan_of
from scheduler.matching import ClassState, feasible_arcs
from scheduler.needs import canonical
from scheduler.services.events import add_events
from scheduler.services.expanding import need_of
from scheduler.snapshots import market, offers_epoch

MAX_LABELS: Final = 32


@dataclass(frozen=True)
class Request:
    """A task as asked for. `constraints`: regions, providers, exclude_providers (slugs), max_price (decimal text)."""

    capability: str
    inputs: dict[str, Any]
    objective: str = "cheapest"
    constraints: dict[str, Any] = field(default_factory=dict)
    deadline: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    name: str = ""
    verify: Any = None

    def digest(self) -> str:
        """SHA-256 of the canonical request: what an idempotency key is compared by."""
        body = [self.capability, self.inputs, self.objective, self.constraints, self.labels, self.name]
        body += [] if self.verify is None else [self.verify]
        return hashlib.sha256(canonical([*body, self.deadline])).hexdigest()


@dataclass(frozen=True)
class Asker:
    """Who submits, and on whose account."""

    organization: Organization
    user: User | None = None
    api_key: ApiKey | None = None


@dataclass(frozen=True)
class Draft:
    """A checked task that is not saved yet, with the artifacts it names."""

    task: Task
    files: list[TaskArtifact]
    bytes_in: int


def submit_task(asker: Asker, request: Request, *, idempotency_key: str | None = None) -> tuple[Task, bool]:
    """Accept a task. Returns it and whether it is new.

    Raises Invalid (422) naming the field, NotAllowed (403) for an organization that may not ask.
    """
    if (known := _replayed(asker, request, idempotency_key)) is not None:
        return known, False
    _check_standing(asker.organization)
    draft = draft_task(asker, request, version=find_version(asker.organization, request.capability))
    draft.task.idempotency_key = idempotency_key
    refuse_hopeless(draft)
    try:
        return save_task(draft), True
    except IntegrityError as error:
        if "task_request_once" not in str(error):
            raise
        known = _replayed(asker, request, idempotency_key)
        if known is None:
            raise Conflict("idempotency_in_progress", "the same request is being handled; repeat it") from None
        return known, False


def submit_tests(version: CapabilityVersion, cases: list[tuple[str, dict[str, Any]]]) -> list[Task]:
    """Submit a version's test cases (name, inputs) as tasks of its publisher, paid by the platform."""
    asker = Asker(version.capability.organization)
    drafts = []
    for name, inputs in cases:
        request = Request(str(version), inputs, labels={"test": name}, name=f"test of {version}: {name}")
        draft = draft_task(asker, request, version=version)
        draft.task.kind = Task.Kind.TEST
        refuse_hopeless(draft)
        drafts.append(draft)
    with transaction.atomic():
        return [save_task(draft) for draft in drafts]


def _replayed(asker: Asker, request: Request, key: str | None) -> Task | None:
    if key is None:
        return None
    if not 0 < len(key) <= 200:
        raise Invalid("invalid_idempotency_key", "1 to 200 characters, please", field="Idempotency-Key")
    task = Task.objects.filter(organization=asker.organization, idempotency_key=key).first()
    if task is not None and task.request_digest != request.digest():
        raise Invalid("idempotency_mismatch", "this key was used for another request", field="Idempotency-Key")
    return task


def _check_standing(organization: Organization) -> None:
    if organization.suspended_at is not None:
        raise NotAllowed("organization_suspended", "this organization is suspended")
    if not organization.is_user:
        raise NotAllowed("not_a_user", "this organization does not submit tasks")


def find_version(organization: Organization, reference: str) -> CapabilityVersion:
    """A published version by `org/name@version`, or the newest published one of `org/name`."""
    full_name, _, wanted = reference.partition("@")
    publisher, _, name = full_name.partition("/")
    versions = CapabilityVersion.objects.filter(
        capability__organization__slug=publisher, capability__name=name
    ).select_related("capability__organization")
    if wanted:
        versions = versions.filter(version=wanted)
    found = [v for v in versions if v.state == CapabilityVersion.State.PUBLISHED]
    if found:
        return max(found, key=lambda version: Version(version.version))
    state = "has no published version" if versions else "is not known"
    raise Invalid("unknown_capability", f"{reference[:200]} {state}", field="capability")


def draft_task(asker: Asker, request: Request, *, version: CapabilityVersion) -> Draft:
    """Check a request against its capability and the market's books; build the task without saving it."""
    now = timezone.now()
    constraints = check_constraints(request.constraints)
    if request.deadline is not None and request.deadline <= now:
        raise Invalid("deadline_in_the_past", "the deadline has passed", field="deadline")
    inputs = validate_inputs(version.manifest, request.inputs)
    named = _named_artifacts(asker.organization, version.manifest, inputs)
    paths = {name: [path for path, _ in pairs] for name, pairs in named.items()}
    bytes_in = sum(artifact.blob.bytes for pairs in named.values() for _, artifact in pairs)
    plan = plan_of(version.manifest, inputs, paths, program=version.program_id, input_bytes=bytes_in)
    if request.verify is not None:
        plan["verify"] = strengthen(Policy.of(plan["verify"]), parse_policy(request.verify)).in_plan()
    task = Task(
        organization=asker.organization,
        user=asker.user,
        api_key=asker.api_key,
        request_digest=request.digest(),
        capability_version=version,
        name=request.name,
        inputs=inputs,
        objective=request.objective,
        constraints=constraints,
        labels=request.labels,
        plan=plan,
        terms=terms_of(plan),
        priced_at=offers_epoch(now),
        units_total=plan["units"] + bool(plan["merge_stage"]),
        deadline=request.deadline,
        created_at=now,
    )
    files = [
        TaskArtifact(task=task, artifact=artifact, path=path, field=name)
        for name, pairs in named.items()
        for path, artifact in pairs
    ]
    return Draft(task, files, bytes_in)


def terms_of(plan: dict[str, Any]) -> dict[str, Any]:
    """The price snapshot: everything but the pools' offers, which `priced_at` pins down."""
    return {
        "platform_basis_points": settings.PLATFORM_FEE_BASIS_POINTS,
        "fee_per_unit": str(plan["fee"]["per_unit"]),
        "fee_per_task": str(plan["fee"]["per_task"]),
        "currency": settings.CURRENCY,
    }


def check_constraints(constraints: dict[str, Any]) -> dict[str, Any]:
    """Regions and providers must exist; the price cap is a positive decimal, kept as text."""
    checked = {name: value for name, value in constraints.items() if value not in (None, [], "")}
    regions = set(checked.get("regions", []))
    known = set(Region.objects.filter(code__in=regions).values_list("code", flat=True))
    if unknown := sorted(regions - known):
        raise Invalid("unknown_region", f"no such region: {', '.join(unknown)[:200]}", field="constraints.regions")
    for name in ("providers", "exclude_providers"):
        slugs = set(checked.get(name, []))
        found = set(Organization.objects.filter(slug__in=slugs, is_provider=True).values_list("slug", flat=True))
        if unknown := sorted(slugs - found):
            raise Invalid("unknown_provider", f"no such provider: {unknown[0][:60]}", field=f"constraints.{name}")
    if "max_price" in checked:
        checked["max_price"] = str(Decimal(str(checked["max_price"])))
    return checked


def _named_artifacts(
    organization: Organization, manifest: dict[str, Any], inputs: dict[str, Any]
) -> dict[str, list[tuple[str, Artifact]]]:
    """The artifacts that inputs name, as `field → [(in/field/name, artifact)]`, all read in one statement."""
    ids = {name: [UUID(str(one)) for one in _as_list(inputs.get(name))] for name, _ in artifact_fields(manifest)}
    wanted = {one: f"inputs.{name}" for name, values in ids.items() for one in values}
    found = resolve_artifacts(organization, wanted) if wanted else {}
    named: dict[str, list[tuple[str, Artifact]]] = defaultdict(list)
    for name, values in ids.items():
        for value in values:
            artifact = found[value]
            named[name].append((f"in/{name}/{artifact.name}", artifact))
        paths = [path for path, _ in named[name]]
        if len(set(paths)) < len(paths):
            raise Invalid("same_name_twice", "two files have the same name", field=f"inputs.{name}")
    return dict(named)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


_HOPELESS: Final = {
    "price": ("price_cap_below_offers", "no offer is below this price cap", "constraints.max_price"),
    "region": ("region_without_pool", "no pool that could run this is in these regions", "constraints.regions"),
    "provider": ("provider_without_pool", "none of these providers has a pool for this", "constraints.providers"),
}


def refuse_hopeless(draft: Draft) -> None:
    """Refuse what no pool of the market could ever take, naming the constraint nearest to being met.

    Pools that are full or away for the moment count as able: waiting for them is what a queue is for.
    """
    counts: dict[str, int] = {}
    for stage in range(1 + bool(draft.task.plan["merge_stage"])):
        one = ClassState(0, need_of(draft.task, stage=stage, bytes_in=draft.bytes_in), 1)
        arcs, excluded = feasible_arcs(one, market([one], online_only=False, with_load=False))
        if not arcs:
            counts = dict(excluded)
            break
        _check_owners(draft.task.plan, {arc.pool.provider for arc in arcs})
    else:
        return
    nearest = next((d for d in ("price", "offer", "trust", "policy", "provider", "region") if counts.get(d)), "")
    code, detail, at = _HOPELESS.get(nearest, ("no_pool_fits", "no pool of the market could run this", "capability"))
    raise Invalid(code, detail, field=at, excluded=counts)


def _check_owners(plan: dict[str, Any], owners: set[str]) -> None:
    """As many owners as results are asked for must have a pool that fits; no more results than owners are asked for."""
    policy = Policy.of(plan["verify"])
    if not policy.compares:
        return
    one_more = policy.validator is not None  # it runs where none of the results comes from
    wanted, givers = policy.initial + one_more, len(owners) - one_more
    if len(owners) < wanted:
        detail = f"{wanted} different owners are needed for results and checks, and {len(owners)} could take part"
        raise Invalid("too_few_owners", detail, field="verify", owners=len(owners), wanted=wanted)
    plan["verify"] = replace(policy, max_total=min(policy.max_total, givers)).in_plan()


@transaction.atomic
def save_task(draft: Draft) -> Task:
    """Write a checked task with its files and its first event; what comes next is woken."""
    task = draft.task
    task.save(force_insert=True)
    TaskArtifact.objects.bulk_create(draft.files)
    add_events([(task.pk, "task.submitted", {"units": task.units_total})])
    wake("scheduler.expand", str(task.pk))
    return task

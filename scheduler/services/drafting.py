"""A request checked against its capability and the market's books, as a task that is not saved yet."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from semantic_version import Version

from core.errors import Invalid
from marketplace.inputs import artifact_fields, validate_inputs
from marketplace.manifest import PLACEHOLDER
from marketplace.models import (
    ApiKey,
    Artifact,
    CapabilityVersion,
    Organization,
    Region,
    Task,
    TaskArtifact,
    TaskReference,
    User,
)
from marketplace.policies import Policy, parse_policy, strengthen
from marketplace.services.artifacts import resolve_artifacts
from marketplace.services.contracts import terms_of
from marketplace.splitting import plan_of
from marketplace.stages import open_border, total_units
from scheduler.demand import learned_bytes, with_results
from scheduler.matching.goals import check_weights
from scheduler.needs import canonical
from scheduler.services.references import check_needed, rows_of, take_out
from scheduler.snapshots import offers_epoch


@dataclass(frozen=True)
class Request:
    """A task as asked for.

    constraints  regions, providers, exclude_providers (slugs), max_price, min_trust (decimal text), min_level (0 to 4),
                 accept_unproven (a truth), weights ({term: number}), network ({from: region, jitter_class: 0-3, max_latency_s})
    """

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
    """A checked task that is not saved yet, with the artifacts it names.

    price_p90   in the task's currency: what nine of ten such tasks do not pass, the fees counted; None: not known
    """

    task: Task
    files: list[TaskArtifact]
    references: list[TaskReference] = field(default_factory=list)
    price_p90: Decimal | None = None

    @property
    def inputs(self) -> list[tuple[str, int]]:
        """SHA-256 and bytes of the input files."""
        return [(file.artifact.blob_id, file.artifact.blob.bytes) for file in self.files]


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
    plain, references = take_out(version.manifest, request.inputs)
    check_needed(asker.organization, references)
    planned = plan_with(asker.organization, version, plain)
    plan = planned.plan
    if request.verify is not None:
        policy = strengthen(Policy.of(plan["verify"]), parse_policy(request.verify))
        if policy.compares and plan.get("gang"):
            raise Invalid("verify_of_gang", "the results of a gang are not compared: it runs on one pool", field="verify")
        plan["verify"] = policy.in_plan()
    task = Task(
        organization=asker.organization,
        user=asker.user,
        api_key=asker.api_key,
        request_digest=request.digest(),
        capability_version=version,
        name=request.name,
        inputs=planned.inputs | {one.field: request.inputs[one.field] for one in references},
        objective=request.objective,
        constraints=constraints,
        labels=request.labels,
        plan=plan,
        terms=price_terms(plan, asker.organization),
        priced_at=offers_epoch(now),
        units_total=total_units(plan),
        units_open=0 if references else open_border(plan),
        deadline=request.deadline,
        created_at=now,
    )
    return Draft(task, planned.files_of(task), rows_of(task, references))


@dataclass(frozen=True)
class Planned:
    """Checked inputs, the plan that follows, and the artifacts they name: input → [(path, artifact)]."""

    inputs: dict[str, Any]
    plan: dict[str, Any]
    named: dict[str, list[tuple[str, Artifact]]]

    def files_of(self, task: Task) -> list[TaskArtifact]:
        """The rows that give the artifacts to a task."""
        return [
            TaskArtifact(task=task, artifact=artifact, path=path, field=name)
            for name, pairs in self.named.items()
            for path, artifact in pairs
        ]


def plan_with(organization: Organization, version: CapabilityVersion, given: dict[str, Any]) -> Planned:
    """Inputs against the version's manifest, and the plan they make. Placeholders count as one file each."""
    inputs = validate_inputs(version.manifest, given)
    named = _named_artifacts(organization, version.manifest, inputs)
    paths = {name: [path for path, _ in pairs] for name, pairs in named.items()}
    for name, path in _placeholders(version.manifest, inputs):
        paths.setdefault(name, []).append(path)
    bytes_in = sum(artifact.blob.bytes for pairs in named.values() for _, artifact in pairs)
    plan = plan_of(version.manifest, inputs, paths, program=version.program_id, input_bytes=bytes_in)
    return Planned(inputs, with_results(plan, learned_bytes(version.pk)), named)


def _placeholders(manifest: dict[str, Any], inputs: dict[str, Any]) -> list[tuple[str, str]]:
    """(input, path) of the files that are not there yet."""
    values = ((name, _as_list(inputs.get(name))) for name, _ in artifact_fields(manifest))
    return [(name, f"in/{name}/{n}") for name, listed in values for n, one in enumerate(listed) if one == PLACEHOLDER]


def price_terms(plan: dict[str, Any], organization: Organization) -> dict[str, Any]:
    """The price snapshot: everything but the pools' offers, which `priced_at` pins down."""
    return {
        "platform_basis_points": terms_of([organization.pk])[organization.pk].platform_basis_points,
        "fee_per_unit": str(plan["fee"]["per_unit"]),
        "fee_per_task": str(plan["fee"]["per_task"]),
        "currency": settings.CURRENCY,
        **({"fees_by_month": plan["fee"]["by_month"]} if "by_month" in plan["fee"] else {}),
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
    for name in ("max_price", "min_trust"):
        if name in checked:
            checked[name] = str(Decimal(str(checked[name])))
    if "weights" in checked:
        checked["weights"] = check_weights(checked["weights"])
    if "network" in checked and not Region.objects.filter(code=checked["network"]["from"]).exists():
        raise Invalid("unknown_region", "no such region", field="constraints.network.from")
    return checked


def _named_artifacts(
    organization: Organization, manifest: dict[str, Any], inputs: dict[str, Any]
) -> dict[str, list[tuple[str, Artifact]]]:
    """The artifacts that inputs name, as `field → [(in/field/name, artifact)]`, all read in one statement."""
    given = {name: _as_list(inputs.get(name)) for name, _ in artifact_fields(manifest)}
    ids = {name: [UUID(str(one)) for one in values if one != PLACEHOLDER] for name, values in given.items()}
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

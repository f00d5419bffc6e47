"""Capabilities, and the form that asks for a quote or submits a task."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, cast
from uuid import UUID, uuid4

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from rest_framework.exceptions import APIException

from console.forms import Field, fields_of, inputs_of
from console.pages import Page, document_of
from console.uploads import keep
from core.errors import DomainError, NotFound
from marketplace.api.capabilities import CapabilityDetailOut, capabilities_of
from marketplace.models import Artifact, CapabilityVersion, Pool, Region, Task
from marketplace.permissions import Scopes, may
from marketplace.queries import owned
from marketplace.scopes import ARTIFACTS_WRITE, CAPABILITIES_READ, TASKS_READ, TASKS_WRITE
from scheduler.api.tasks import request_of
from scheduler.services.drafting import Asker
from scheduler.services.quoting import quote_task
from scheduler.services.submitting import submit_task

PAGE: Final = 50
PUBLISHED: Final = CapabilityVersion.State.PUBLISHED
OWN: Final = ("regions", "max_price", "objective", "name", "deadline", "verify")  # what the form asks besides inputs
# How results are proved, beyond what the capability does: its words, and what the API takes.
CHECKS: Final[dict[str, tuple[str, Any]]] = {
    "": ("as the capability does", ""),
    "exact": ("two owners agree", "exact"),
    "quorum": ("two of three owners agree", {"quorum": {"of": 3, "need": 2}}),
}
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")


class CapabilityList(Page):
    """What can be run: every capability with a published version."""

    scopes: ClassVar[Scopes] = {"GET": CAPABILITIES_READ}
    template_name = "console/capabilities.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = capabilities_of(self.caller).filter(versions__state=PUBLISHED).distinct().order_by("-pk")
        if (before := request.GET.get("before", "")).isdigit() and len(before) < 19:
            rows = rows.filter(pk__lt=int(before))
        found = list(rows[: PAGE + 1])
        versions = [newest_published(one) for one in found[:PAGE]]
        shown = [(version, fields_of(version["manifest"]["inputs"])) for version in versions]
        return self.show({"capabilities": shown, "more": found[PAGE - 1].pk if len(found) > PAGE else ""})


def newest_published(capability: Any) -> dict[str, Any]:
    """The newest published version's document; NotFound without one."""
    latest = CapabilityDetailOut(capability).data["latest"]
    if latest is None or latest["state"] != PUBLISHED:
        raise NotFound("capability_unknown", "no such capability, or none that is published")
    return dict(latest)


class OneCapability(Page):
    """A capability's form: "quote" says what it would cost and take, "submit" asks for it, once however often it is sent."""

    scopes: ClassVar[Scopes] = {"GET": CAPABILITIES_READ, "POST": TASKS_READ}
    template_name = "console/capability.html"

    def get(self, request: HttpRequest, org: str, name: str) -> HttpResponse:
        version = self._version(org, name)
        return self._show(version, Filled(fields_of(version["manifest"]["inputs"])))

    def post(self, request: HttpRequest, org: str, name: str) -> HttpResponse:
        version = self._version(org, name)
        filled = Filled.from_post(request, version)
        try:
            if request.POST.get("action") == "submit":
                return self._submit(filled, f"{org}/{name}")
            quote = quote_task(self._asker(), request_of(self._body(filled, f"{org}/{name}")))
        except (DomainError, APIException) as error:
            return self._refused(version, filled, error)
        return self._show(version, filled, {"quote": quote, "options": list(quote.options.items())})

    def _submit(self, filled: Filled, capability: str) -> HttpResponse:
        may(self.caller, TASKS_WRITE)
        body = self._body(filled, capability)
        task, _ = submit_task(self._asker(), request_of(body), idempotency_key=filled.token)
        return redirect("console:task", task.pk)

    def _asker(self) -> Asker:
        return Asker(self.caller.acting_for(), self.caller.user)

    def _version(self, org: str, name: str) -> dict[str, Any]:
        capability = capabilities_of(self.caller).filter(organization__slug=org, name=name).first()
        if capability is None:
            raise NotFound("capability_unknown", "no such capability")
        return newest_published(capability)

    def _body(self, filled: Filled, capability: str) -> dict[str, Any]:
        """What a program would send to the API."""
        artifacts = {one.name: self._artifacts(one) for one in filled.fields if one.kind in ("file", "files")}
        inputs = inputs_of(filled.fields, artifacts)
        constraints: dict[str, Any] = {"regions": filled.regions} if filled.regions else {}
        if filled.max_price:
            constraints["max_price"] = filled.max_price
        body = {"capability": capability, "inputs": inputs, "objective": filled.objective, "name": filled.name}
        return body | {"constraints": constraints} | filled.promises()

    def _artifacts(self, one: Field) -> list[str]:
        """The ids of a field's files: those kept from before, and those that came with this form."""
        files = cast("list[UploadedFile[Any]]", self.request.FILES.getlist(one.key))
        if files:
            may(self.caller, ARTIFACTS_WRITE)
        new = [keep(self.caller, file, field=one.key) for file in files]
        before = [] if one.kind == "file" and new else one.kept
        one.kept = [*before, *((str(artifact.pk), artifact.name) for artifact in new)]
        return list(dict.fromkeys(key for key, _ in one.kept))

    def _refused(self, version: dict[str, Any], filled: Filled, error: Exception) -> HttpResponse:
        problem = document_of(error)
        if problem["code"] == "organization_required":
            raise error
        if problem["code"] == "idempotency_mismatch":
            filled.token = a_token()
            problem["detail"] = "this form was submitted before, with other inputs; press again to submit these as a new task"
        filled.name_fault(str(problem.get("field") or ""), problem["detail"])
        return self._show(version, filled, status=problem["status"])

    def _show(
        self, version: dict[str, Any], filled: Filled, more: dict[str, Any] | None = None, status: int = 200
    ) -> HttpResponse:
        self._name_kept(filled.fields)
        regions = Region.objects.filter(pools__state=Pool.State.ACTIVE).distinct()
        context = {"version": version, "form": filled, "regions": regions, "objectives": Task.Objective.values, "checks": CHECKS}
        return self.show(context | (more or {}), status)

    def _name_kept(self, fields: list[Field]) -> None:
        """Files from before have names, if they are the organization's; others are left out."""
        ids = [key for one in fields for key, _ in one.kept if is_uuid(key)]
        rows = owned(Artifact.objects.filter(pk__in=ids, deleted_at__isnull=True), self.caller) if ids else ()
        names = {str(artifact.pk): artifact.name for artifact in rows}
        for one in fields:
            one.kept = [(key, names[key]) for key, _ in one.kept if key in names]


class Filled:
    """A form as it stands: fields with their values, what else was chosen, and the errors."""

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.token = a_token()
        self.objective = str(Task.Objective.CHEAPEST)
        self.regions: list[str] = []
        self.max_price = self.name = self.deadline = self.verify = ""
        self.errors: dict[str, str] = {}

    @classmethod
    def from_post(cls, request: HttpRequest, version: dict[str, Any]) -> Filled:
        post = request.POST
        filled = cls(fields_of(version["manifest"]["inputs"]))
        filled.token = post.get("token", "")[:200]
        filled.objective, filled.regions = post.get("objective") or filled.objective, post.getlist("regions")
        filled.max_price, filled.name = post.get("max_price", "").strip(), post.get("name", "").strip()
        filled.deadline, filled.verify = post.get("deadline", "").strip(), post.get("verify", "")
        for one in filled.fields:
            one.value = post.get(one.key, "")
            one.kept = [(key, key) for key in post.getlist(f"kept.{one.name}")]
        return filled

    def promises(self) -> dict[str, Any]:
        """Deadline and checks, where some were asked for. What a browser calls a local time is meant as UTC, as the form says."""
        until = f"{self.deadline}Z" if _MOMENT.fullmatch(self.deadline) else self.deadline
        asked = {"deadline": until, "verify": CHECKS.get(self.verify, ("", self.verify))[1]}
        return {name: value for name, value in asked.items() if value}

    @property
    def wrong(self) -> Field | None:
        """The input that an error names."""
        return next((one for one in self.fields if one.error), None)

    def name_fault(self, path: str, detail: str) -> None:
        """Put an error at the field that its path lies in; what belongs to no field stands above the form."""
        at_input = next((one for one in self.fields if path == one.key or path.startswith(f"{one.key}.")), None)
        if at_input is not None:
            inside = path.removeprefix(at_input.key).lstrip(".")
            at_input.error = f"{inside}: {detail}" if inside else detail
        else:
            own = next((name for name in OWN if name in path.split(".")), "form")
            self.errors[own] = detail


def a_token() -> str:
    """Names one form that was handed out: the idempotency key of what it submits."""
    return f"page-{uuid4()}"


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False

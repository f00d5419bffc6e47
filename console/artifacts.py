"""The organization's files: where their bytes are, the copies that it wishes, and what it pins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from console.pages import Page, document_of
from core.errors import DomainError, NotFound
from marketplace.api.artifacts import PinIn
from marketplace.api.serializers import valid
from marketplace.models import Artifact, Pool, Region, Replica, TaskArtifact
from marketplace.permissions import Scopes
from marketplace.queries import artifacts_of
from marketplace.scopes import ARTIFACTS_READ, ARTIFACTS_WRITE, TASKS_READ
from marketplace.services import replicas
from marketplace.whereabouts import Whereabouts, whereabouts

PAGE: Final = 40
READERS: Final = 20  # tasks that a page names
A_PIN: Final = timedelta(days=30)  # what the form proposes
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")  # as a browser writes it


@dataclass
class Place:
    """What of a file is in one region."""

    region: str
    store: bool = False
    caches: int = 0
    copy: Replica | None = None


def places_of(where: Whereabouts) -> list[Place]:
    """One line for each region that has the bytes, or is to have them; by the regions' codes."""
    places: dict[str, Place] = {}
    for code in (*where.stores, *where.caches, *(one.region.code for one in where.replicas)):
        places.setdefault(code, Place(code))
    for code in where.stores:
        places[code].store = True
    for code, pools in where.caches.items():
        places[code].caches = pools
    for copy in where.replicas:
        places[copy.region.code].copy = copy
    return [places[code] for code in sorted(places)]


def shown_with_places(artifacts: Sequence[Artifact]) -> list[tuple[Artifact, list[Place], Whereabouts]]:
    """Each with its places; four statements for any number."""
    return [(one, places_of(where), where) for one, where in zip(artifacts, whereabouts(artifacts), strict=True)]


class ArtifactList(Page):
    """Files, newest first; `?older=<id>`."""

    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_READ}
    template_name = "console/artifacts.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = artifacts_of(self.caller).order_by("-pk")
        with suppress(ValueError):  # no id: as if not asked
            rows = rows.filter(pk__lt=UUID(request.GET["older"])) if request.GET.get("older") else rows
        found = list(rows[: PAGE + 1])
        older = str(found[PAGE - 1].pk) if len(found) > PAGE else ""
        return self.show({"artifacts": shown_with_places(found[:PAGE]), "older": older})


class OneArtifact(Page):
    """A file: where it is, how its copies stand, and the forms that ask for more."""

    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_READ}
    template_name = "console/artifact.html"

    def get(self, request: HttpRequest, artifact_id: UUID) -> HttpResponse:
        return self.show(self.facts(self.own(artifact_id)))

    def own(self, artifact_id: UUID) -> Artifact:
        """The artifact, if this caller may see it; a stranger's is NotFound."""
        artifact = artifacts_of(self.caller).select_related("created_by").filter(pk=artifact_id).first()
        if artifact is None:
            raise NotFound("artifact_unknown", "no such artifact")
        return artifact

    def facts(self, artifact: Artifact) -> dict[str, Any]:
        ((_, places, where),) = shown_with_places([artifact])
        wished = {one.region.code for one in where.replicas if one.state != Replica.State.FAILED}
        used, quota = replicas.room_of(artifact.organization)
        until = (timezone.now() + A_PIN).strftime("%Y-%m-%dT%H:%M")
        context = {"artifact": artifact, "places": places, "where": where, "used": used, "quota": quota, "until": until}
        context["held"] = sum(one.state == Replica.State.HELD for one in where.replicas)
        return context | {"regions": _regions(wished), "tasks": self._readers(artifact)}

    def _readers(self, artifact: Artifact) -> list[TaskArtifact]:
        """The newest tasks that read it, for those who may see tasks. Artifact and task are of one organization."""
        if TASKS_READ not in self.caller.scopes:
            return []
        rows = TaskArtifact.objects.filter(artifact=artifact).select_related("task__capability_version__capability__organization")
        return list(rows.order_by("-task_id")[:READERS])


def _regions(wished: set[str]) -> list[Region]:
    """Where a copy may be asked for: regions with pools at work; `offers` says whether somebody has room there now."""
    room = Exists(replicas.offering_room().filter(pool__region=OuterRef("pk")))
    at_work = Exists(Pool.objects.filter(region=OuterRef("pk"), state=Pool.State.ACTIVE))
    return list(Region.objects.filter(at_work).exclude(code__in=wished).annotate(offers=room).order_by("-offers", "code"))


class _Form(OneArtifact):
    """What a form does, then the artifact's page; a refusal is told at the form."""

    scopes: ClassVar[Scopes] = {"POST": ARTIFACTS_WRITE}
    http_method_names = ["post"]

    def post(self, request: HttpRequest, artifact_id: UUID, **more: str) -> HttpResponse:
        artifact = self.own(artifact_id)
        try:
            self.do(artifact, **more)
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            field = str(problem.get("field") or "").partition(".")[0]
            told = {"errors": {field: problem["detail"]}, "chosen": request.POST.getlist("regions")}
            return self.show(self.facts(artifact) | told, problem["status"])
        return redirect("console:artifact", artifact_id)

    def do(self, artifact: Artifact) -> None:
        raise NotImplementedError


class Replicate(_Form):
    def do(self, artifact: Artifact) -> None:
        replicas.replicate(artifact, self.caller.user, self.request.POST.getlist("regions"))


class DropCopy(_Form):
    def do(self, artifact: Artifact, region: str = "") -> None:
        replicas.drop_replica(artifact, region)


class PinIt(_Form):
    def do(self, artifact: Artifact) -> None:
        asked = self.request.POST.get("until", "")
        until = f"{asked}Z" if _MOMENT.fullmatch(asked) else asked  # the form says UTC
        replicas.pin(artifact, self.caller.user, valid(PinIn(data={"until": until}))["until"])


class Unpin(_Form):
    def do(self, artifact: Artifact) -> None:
        replicas.unpin(artifact)

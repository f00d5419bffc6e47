"""Files of observations on pages, for operators: look at one, keep it whole or not at all, take it back with a reason."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.index.reading import places
from console.lists import newest
from console.pages import Page, document_of
from core.errors import Conflict, DomainError, Invalid, NotFound, TooLarge
from index.importing.reading import MOST_BYTES, OPTIONAL, REQUIRED
from index.importing.services import File, Source, commit, counts, drop, looked_at, preview, roll_back
from index.live.services import count_months
from index.models import Observation, ObservationBatch
from index.regions import NATION, PROVINCES
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR

TEXTS: Final = {"title": 300, "publisher": 200, "url": 500, "licence": 100}
PROFILES: Final = ("national", "platform")
SAMPLE: Final = 20
PAGE: Final = 200
MAX_BIGINT: Final = 2**63 - 1


class IndexData(Page):
    """Batches, newest first, and a form for a file: what is wrong with it is shown before anything is kept."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    template_name = "console/index/data.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show(request, {})

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            batch = preview(_file(request), self.caller.user)
        except DomainError as error:
            return self._refused(request, error)
        return redirect("console:index-batch", batch.pk)

    def _refused(self, request: HttpRequest, error: DomainError) -> HttpResponse:
        """The form again, with what was typed; the file itself has to be chosen again."""
        problem = document_of(error)
        wrong = {str(problem.get("field") or "file"): problem["detail"]}
        return self._show(request, {"errors": wrong, "given": request.POST.dict()}, problem["status"])

    def _show(self, request: HttpRequest, more: dict[str, Any], status: int = 200) -> HttpResponse:
        found, before = newest(request, ObservationBatch.objects.defer("content").select_related("created_by"))
        context = {"batches": [{"batch": batch, "counts": counts(batch)} for batch in found], "before": before}
        columns = {"required": REQUIRED, "optional": OPTIONAL, "profiles": PROFILES, "mib": MOST_BYTES // 2**20}
        return self.show(context | columns | more, status)


def _file(request: HttpRequest) -> File:
    """What the form brought. Invalid `invalid_input`; TooLarge `file_too_large`."""
    given = request.FILES.get("file")
    if given is None:
        raise Invalid("invalid_input", "choose a file", field="file")
    if (given.size or 0) > MOST_BYTES:
        raise TooLarge("file_too_large", f"at most {MOST_BYTES // 2**20} MiB", field="file")
    profile = request.POST.get("profile", PROFILES[0])
    if profile not in PROFILES:
        raise Invalid("invalid_input", f"a profile is one of {', '.join(PROFILES)}", field="profile")
    texts = {name: request.POST.get(name, "").strip()[:most] for name, most in TEXTS.items()}
    source = Source(**texts, published=_day(request.POST.get("published", "")))
    return File(given.name or "file", given.read(), source, profile)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid("invalid_input", "a date is written as 2023-06-30", field="published") from None


class IndexCount(Page):
    """Count the platform's own month now."""

    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    def post(self, request: HttpRequest) -> HttpResponse:
        count_months()
        return redirect("console:index-data")


class IndexBatch(Page):
    """One batch: what was found in its file with its rows, what it would keep or has kept, and what can be done with it."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR}
    template_name = "console/index/batch.html"

    def get(self, request: HttpRequest, batch: int) -> HttpResponse:
        return batch_page(self, request, batch)


def batch_page(
    page: Page, request: HttpRequest, number: int, more: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    """NotFound `batch_unknown`."""
    batch = ObservationBatch.objects.filter(pk=min(number, MAX_BIGINT)).first()
    if batch is None:
        raise NotFound("batch_unknown", "there is no such batch")
    kept = list(Observation.objects.filter(batch=batch, pk__gt=_after(request)).order_by("pk")[: PAGE + 1])
    context = {
        "batch": batch, "counts": counts(batch), "sample": [_told(one) for one in looked_at(batch, SAMPLE)],
        "kept": [_told(one) for one in kept[:PAGE]],
        "after": kept[PAGE - 1].pk if len(kept) > PAGE else None,
        "findings": sorted(batch.report, key=lambda one: (one["severity"], one["row"])),
    }  # fmt: skip
    return page.show(context | (more or {}), status)


def _after(request: HttpRequest) -> int:
    text = request.GET.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(MAX_BIGINT)) else 0


def _told(one: Any) -> dict[str, Any]:
    """A row that is or would be kept."""
    unit = one.unit if isinstance(one.unit, str) else one.unit.code
    place = PROVINCES[one.region].en if one.region in PROVINCES else "the whole country" if one.region == NATION else one.region
    told = {name: getattr(one, name) for name in ("variable", "period", "vintage", "row")}
    return told | {"number": getattr(one, "pk", None), "region": place, "value": places(one.value), "unit": unit}


class _Act(Page):
    """A step of a batch; what was refused is said on its page."""

    scopes: ClassVar[Scopes] = {"POST": OPERATOR}
    template_name = "console/index/batch.html"

    def post(self, request: HttpRequest, batch: int) -> HttpResponse:
        try:
            self.act(request, min(batch, MAX_BIGINT))
        except (Conflict, Invalid) as error:
            problem = document_of(error)
            return batch_page(self, request, batch, {"problem": problem["detail"]}, problem["status"])
        return redirect("console:index-batch", batch)

    def act(self, request: HttpRequest, number: int) -> None:
        raise NotImplementedError


class IndexBatchCommit(_Act):
    def act(self, request: HttpRequest, number: int) -> None:
        commit(number, self.caller.user)


class IndexBatchDrop(_Act):
    def act(self, request: HttpRequest, number: int) -> None:
        drop(number)


class IndexBatchRollBack(_Act):
    def act(self, request: HttpRequest, number: int) -> None:
        roll_back(number, request.POST.get("reason", ""))

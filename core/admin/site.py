"""The two kinds of pages: `Page` only shows, `OperatorPage` can also be edited by who holds Django's permission.

Every operator (`is_staff`) sees everything and may take the actions. An action is a door to a service: it may be
taken from a list, for the rows marked there, or from an object's own page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import OperationalError, models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from core.admin.cells import NOTHING, change_url, has_words, of_field, reference, short
from core.admin.filters import parsed
from core.admin.paging import KEY_ORDER, PATIENCE, BoundedPaginator, at_most, was_cancelled
from core.admin.panels import Panel, panels_of
from core.errors import DomainError

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin
    from unfold.views import ChangeList

Rows = models.QuerySet[Any]
Card = tuple[str, Sequence[str]]


class Found(ChangeList):
    """A list's rows. The paginator alone says how many there are, as far as it counted."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
        self.result_list = list(self.result_list)
        page: Any = self.model_admin
        page.prepare(self.result_list)


class Page(ModelAdmin[Any] if TYPE_CHECKING else ModelAdmin):
    """A model as lists and pages that nobody can edit.

    columns  fields, or methods of the page, that a list shows
    cards    (title, fields) that an object's page shows; without, one card of all fields
    chain    paths of foreign keys from the task down to this object: the way back
    hidden   fields that nobody sees (hashes of secrets)
    heavy    fields that lists do not read
    huge     grows with units: sorted by its key only
    search_fields  texts to look into, `=path` for keys that are compared whole
    """

    columns: ClassVar[Sequence[str]] = ()
    cards: ClassVar[Sequence[Card]] = ()
    chain: ClassVar[Sequence[str]] = ()
    joins: ClassVar[Sequence[str]] = ()
    hidden: ClassVar[Sequence[str]] = ()
    heavy: ClassVar[Sequence[str]] = ()
    huge: ClassVar[bool] = False

    ordering = ("-pk",)
    list_before_template = "admin/notes.html"
    list_per_page = 50
    list_max_show_all = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_filter_submit = True
    list_disable_select_all = True
    list_fullwidth = True
    change_form_template = "admin/object.html"

    # Who may do what.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators may look at everything and take the actions."""
        return bool(request.user.is_active and getattr(request.user, "is_staff", False))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # Lists.

    def get_queryset(self, request: HttpRequest) -> Rows:
        rows: Rows = super().get_queryset(request)
        if joins := self._joins():  # without a name, select_related would follow every key there is, through thirty tables
            rows = rows.select_related(*joins)
        match = request.resolver_match
        in_list = match is not None and (match.url_name or "").endswith("_changelist")
        return rows.defer(*self.heavy) if in_list and self.heavy else rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A filter that no index answers is given up after a few seconds. Actions (POST) are not timed."""
        if request.method == "POST":
            return super().changelist_view(request, extra_context)
        extra_context = {**(extra_context or {}), "gf_notes": self.notes()}
        try:
            with at_most(PATIENCE if request.GET else KEY_ORDER):
                return super().changelist_view(request, extra_context)
        except OperationalError as error:
            if not (was_cancelled(error) and request.GET):
                raise
        messages.warning(request, "That would read too much. Filter by a task, or another key, first.")
        return HttpResponseRedirect(request.path)

    def notes(self) -> list[Panel]:
        """What stands above the list: the whole in a few numbers. Reads of its own, bounded."""
        return []

    def prepare(self, rows: list[Any]) -> None:
        """Read along what the columns of a list's rows need, one statement for all of them."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Found

    def _joins(self) -> list[str]:
        """Columns that name a related object by its own words read it along."""
        fields = (_field(self.model, name) for name in self.columns)
        keys = [field for field in fields if isinstance(field, models.ForeignKey)]
        return [field.name for field in keys if has_words(_target(field))] + list(self.joins)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [self._column(name) for name in self.columns]

    def _column(self, name: str) -> Any:
        field = _field(self.model, name)
        if field is None:
            return name

        def column(obj: models.Model) -> Any:
            return of_field(obj, field)

        column.__name__ = name
        column.short_description = _title(field)  # type: ignore[attr-defined]
        column.admin_order_field = name  # type: ignore[attr-defined]
        return column

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> list[Any]:
        return list(list_display)[:1]

    def get_sortable_by(self, request: HttpRequest) -> list[str]:
        return [] if self.huge else list(self.columns)

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> tuple[Rows, bool]:
        """Keys are compared as values of their type, so that their index answers."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = models.Q()
        for name in self.get_search_fields(request):
            found |= _match(self.model, name, term)
        return (queryset.filter(found) if found else queryset.none()), False

    # An object's page.

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        editable = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return super().get_fieldsets(request, obj) if editable else []

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            name = self.name_of(obj)
            context |= {"gf": self._parts(request, obj), "subtitle": name, "original": _Named(obj, name)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _parts(self, request: HttpRequest, obj: models.Model) -> dict[str, Any]:
        return {
            "chain": list(self.links_of(obj)),
            "name": self.name_of(obj),
            "verbs": self._verbs(request, obj),
            "cards": [] if self.has_change_permission(request, obj) else self._cards(obj),
            "panels": panels_of(obj),
        }

    def name_of(self, obj: models.Model) -> str:
        """What an object is called where its page begins."""
        return str(obj) if has_words(type(obj)) else f"{self.opts.verbose_name} {short(obj.pk)}"

    def links_of(self, obj: models.Model) -> Iterable[tuple[str, SafeString]]:
        """The way back to the task: (kind, link) for everything this object belongs to."""
        for path in self.chain:
            *before, last = path.split("__")
            owner: Any = obj
            for name in before:
                owner = getattr(owner, name) if owner is not None else None
            if owner is not None and getattr(owner, f"{last}_id") is not None:
                field: Any = owner._meta.get_field(last)
                yield str(_target(field)._meta.verbose_name), reference(owner, field)

    def _verbs(self, request: HttpRequest, obj: models.Model) -> list[tuple[str, str]]:
        actions = self.get_actions(request)
        return [(name, str(text)) for name, (_, _, text) in actions.items() if self.fits(name, obj)]

    def fits(self, action: str, obj: Any) -> bool:
        """Is the action worth offering on this object's page? Whether it is allowed says the service."""
        return True

    def _cards(self, obj: models.Model) -> list[tuple[str, list[tuple[str, Any]]]]:
        cards = self.cards or [("", [field.name for field in self.opts.fields])]
        return [(title, [self._fact(obj, name) for name in names if name not in self.hidden]) for title, names in cards]

    def _fact(self, obj: models.Model, name: str) -> tuple[str, Any]:
        field = _field(self.model, name)
        if field is not None:
            return _title(field), of_field(obj, field)
        method = getattr(self, name)
        value = method(obj)
        return getattr(method, "short_description", name.replace("_", " ")), NOTHING if value in (None, "") else value

    def response_action(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        """An action taken on an object's page leads back to it."""
        answer = super().response_action(request, queryset)
        page = request.POST.get("_page", "")
        return HttpResponseRedirect(change_url(self.model, page)) if answer and page else answer


class _Named:
    """An object as templates read it, called what its page calls it: models of the river have no words of their own."""

    def __init__(self, obj: models.Model, name: str) -> None:
        self._obj, self._name = obj, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obj, name)

    def __str__(self) -> str:
        return self._name


class OperatorPage(Page):
    """A page with a form, for who holds Django's permission to change it; everybody else only looks."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super(Page, self).has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super(Page, self).has_change_permission(request, obj)


class ServicePage(Page):
    """A page whose new rows a service makes, from a form that every operator may fill in; what is there is only looked at."""

    # (the form's values, who sent them) -> the row that the service made; its refusals are shown in its own words
    make: Callable[[dict[str, Any], Any], Any]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except DomainError as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        obj.pk = self.make(form.cleaned_data, request.user).pk
        obj.refresh_from_db()


def carry_out(
    page: Page, request: HttpRequest, rows: Iterable[Any], service: Callable[[Any], Any], done: str
) -> None:
    """Call a service for each marked row; say what was done, and each refusal in the service's own words."""
    count = 0
    for row in rows:
        try:
            service(row)
        except DomainError as refusal:
            messages.error(request, f"{page.name_of(row)}: {refusal.detail}")
            continue
        page.log_change(request, row, done)
        count += 1
    if count:
        messages.success(request, f"{count} {done}")


def carry_out_all(
    page: Page, request: HttpRequest, rows: Rows, service: Callable[[list[Any]], int], done: str
) -> None:
    """Call a service that takes a set, with the keys of the marked rows."""
    marked = list(rows)
    count = service([row.pk for row in marked])
    for row in marked:
        page.log_change(request, row, done)
    messages.success(request, f"{count} {done}")


def _field(model: type[models.Model], name: str) -> models.Field[Any, Any] | None:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, models.Field) else None


def _target(field: models.ForeignKey[Any, Any]) -> type[models.Model]:
    target: Any = field.related_model
    return target


_WRITTEN: Final = {
    "id": "ID", "sha256": "SHA-256", "url": "URL", "mbps": "Mbit/s", "gb": "GB", "mib": "MiB", "tflop": "TFLOP", "gflop": "GFLOP",
    "fp32": "FP32", "p50": "P50", "p90": "P90", "p99": "P99", "sid": "SID", "iso": "ISO",
}  # fmt: skip


def _title(field: models.Field[Any, Any]) -> str:
    words = str(field.verbose_name).removesuffix(" micros").removesuffix(" mib ms").replace(" ms", "")
    return " ".join(_WRITTEN.get(word, word) for word in words.split(" "))


def _match(model: type[models.Model], name: str, term: str) -> models.Q:
    if not name.startswith("="):
        return models.Q(**{f"{name}__icontains": term})
    try:
        return models.Q(**{name[1:]: parsed(model, name[1:], term)})
    except ValidationError:
        return models.Q()

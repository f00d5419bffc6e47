"""Filters that an index can answer: an exact key, one of few words, a span of time over time-ordered keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as Dropdown
    from django.contrib.admin import SimpleListFilter as TextFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter as Dropdown
    from unfold.contrib.filters.admin import TextFilter

__all__ = ["Dropdown", "Exact", "OneOf", "Since", "exact", "field_at", "first_key", "one_of", "parsed"]

Rows = models.QuerySet[Any]


def field_at(model: type[models.Model], path: str) -> models.Field[Any, Any]:
    """The field at the end of a path like `organization__slug`; a foreign key's own target for `task`."""
    field: Any = None
    for name in path.split("__"):
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
        model = field.related_model or model
    return field.target_field if isinstance(field, models.ForeignKey) else field


def parsed(model: type[models.Model], path: str, text: str) -> Any:
    """The text as a value of that field; ValidationError when it cannot be one."""
    field = field_at(model, path)
    value = field.to_python(text)
    if isinstance(value, int):
        field.run_validators(value)
    return value


class Exact(TextFilter):
    """One value, compared whole; what cannot be a value of the field finds nothing."""

    path = ""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        try:
            return queryset.filter(**{self.path: parsed(queryset.model, self.path, text)})
        except ValidationError:
            return queryset.none()


def exact(path: str, title: str = "") -> type[Exact]:
    """A text filter for a field or a path: `exact("task")` answers `?task=…`."""
    name = path.split("__", maxsplit=1)[0]
    fields = {"path": path, "parameter_name": name, "title": title or name.replace("_", " ")}
    return type(f"Exact_{path}", (Exact,), fields)


class OneOf(Dropdown):
    """One of few words that the field holds."""

    words: tuple[str, ...] = ()
    field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(word, word.replace("_", " ")) for word in self.words]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


def one_of(field: str, words: Iterable[str], title: str = "") -> type[OneOf]:
    """A filter for a field whose words the model does not list."""
    fields = {"field": field, "parameter_name": field, "title": title or field.replace("_", " "), "words": tuple(words)}
    return type(f"OneOf_{field}", (OneOf,), fields)


class Since(Dropdown):
    """Rows younger than a span, by their UUIDv7 key: the key's index answers, no date column is needed."""

    title = "age"
    parameter_name = "since"
    SPANS: Final = {"1h": ("last hour", 1), "24h": ("last 24 hours", 24), "7d": ("last 7 days", 168), "30d": ("last 30 days", 720)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        return ((key, name) for key, (name, _) in self.SPANS.items())

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        span = self.SPANS.get(self.value() or "")
        return queryset.filter(pk__gte=first_key(timezone.now() - timedelta(hours=span[1]))) if span else queryset


def first_key(moment: datetime) -> UUID:
    """The smallest UUIDv7 of this moment."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))

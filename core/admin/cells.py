"""How a value looks on a page: states as badges, references as links, money, bytes and times as people read them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.admin.utils import quote
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.backends.postgresql.psycopg_any import Range
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from core.money import text_of

NOTHING: Final = format_html('<span class="gf-none">{}</span>', "-")
HASH_LENGTH: Final = 64  # hex digits of a SHA-256
STATES: Final = {"state", "outcome", "role", "payer"}
JSON_SHOWN: Final = 20_000  # characters of a document that a page shows

_TONES: Final = {
    "good": "delivered done valid active published ok verified settled online owner user pass held same kept expected optimum",
    "busy": "running leased placed merge busy copying asked within",
    "wait": "queued waiting reported draining testing registered enrolled deprecated waits platform warn wanted committed "
    "unproven greedy",
    "bad": "failed lost invalid suspended late broken offline fail different quarantine",
    "over": "cancelled expired released superseded retired withdrawn draft blocked revoked nobody used skip gone void unknown",
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words.split()}


def badge(word: Any) -> SafeString:
    """A state as a coloured word."""
    text = str(word or "")
    if not text:
        return NOTHING
    return format_html('<span class="gf-badge gf-{}">{}</span>', _TONE_OF.get(text, "plain"), text)


def short(value: Any) -> str:
    """An identifier that fits into a column: UUIDs and hashes by their beginning and end."""
    text = str(value)
    if isinstance(value, UUID) or (len(text) == HASH_LENGTH and " " not in text):
        return f"{text[:8]}…{text[-6:]}"
    return text


def change_url(model: type[models.Model], pk: Any) -> str:
    """Where an object's page is, or nothing when the model has none."""
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(pk)])
    except NoReverseMatch:
        return ""


def list_url(model: type[models.Model], **filters: Any) -> str:
    """A model's list, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{url}?{urlencode(filters)}" if filters else url


def link(url: str, label: Any) -> SafeString:
    """A link, or the bare label without a place to go to."""
    if not url:
        return format_html("{}", label)
    return format_html('<a class="gf-link" href="{}">{}</a>', url, label)


def to(model: type[models.Model], pk: Any, label: Any = None) -> SafeString:
    """A link to an object's page, known by its key alone."""
    if pk is None:
        return NOTHING
    return link(change_url(model, pk), short(pk) if label is None else label)


def money(micros: int | None, currency: str = "") -> SafeString:
    """Micro-units as an amount; zeros below a cent are dimmed."""
    if micros is None:
        return NOTHING
    text = text_of(micros)
    end = max(len(text.rstrip("0")), len(text) - 4)
    tone = " gf-zero" if micros == 0 else ""
    return format_html(
        '<span class="gf-num{}">{}<span class="gf-dim">{}</span> {}</span>', tone, text[:end], text[end:], currency
    )


def bytes_text(count: int | None) -> str:
    """A number of bytes in binary units."""
    if count is None:
        return "-"
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def age_text(span: timedelta) -> str:
    """A span of time in its largest unit and the next: 42 s, 3 min 5 s, 2 h 10 min, 4 d 3 h."""
    seconds = max(int(span.total_seconds()), 0)
    for size, name, below, name_below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {name}" + (f" {rest} {name_below}" if rest else "")
    return f"{seconds} s"


def when(moment: datetime | None) -> SafeString:
    """A moment, with how long ago (or ahead) it is when one points at it."""
    if moment is None:
        return NOTHING
    span = timezone.now() - moment
    told = f"{age_text(span)} ago" if span >= timedelta(0) else f"in {age_text(-span)}"
    text = timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")
    return format_html('<time class="gf-time" datetime="{}" title="{}">{}</time>', moment.isoformat(), told, text)


def document(value: Any) -> SafeString:
    """A JSON document, indented; only its beginning when it is very long."""
    if value in (None, {}, []):
        return NOTHING
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    cut = "" if len(text) <= JSON_SHOWN else f"\n… {len(text) - JSON_SHOWN} characters more"
    return format_html('<pre class="gf-json">{}{}</pre>', text[:JSON_SHOWN], cut)


def reference(obj: models.Model, field: models.ForeignKey[Any, Any]) -> SafeString:
    """A foreign key as a link, named by the related object's own words where it has some."""
    pk = getattr(obj, field.attname)
    if pk is None:
        return NOTHING
    related: Any = field.related_model
    return to(related, pk, _name_of(obj, field, pk))


def has_words(model: type[models.Model]) -> bool:
    """Does it say its own name? (A task's is its number, which the key tells without another query.)"""
    return model.__str__ is not models.Model.__str__ and not isinstance(model._meta.pk, models.UUIDField | models.OneToOneField)


def _name_of(obj: models.Model, field: models.ForeignKey[Any, Any], pk: Any) -> str:
    related: Any = field.related_model
    if not has_words(related) and field.name not in obj._state.fields_cache:
        return short(pk)
    try:
        return str(getattr(obj, field.name)) if has_words(related) else _own_words(getattr(obj, field.name), pk)
    except ObjectDoesNotExist:  # a copied party is not held by a foreign key
        return short(pk)


def _own_words(related: models.Model, pk: Any) -> str:
    text = str(related)
    return short(pk) if text == str(pk) or type(related).__str__ is models.Model.__str__ else text


def of_field(obj: models.Model, field: models.Field[Any, Any]) -> Any:
    """A model field's value as a cell."""
    if isinstance(field, models.ForeignKey):
        return reference(obj, field)
    value = getattr(obj, field.attname)
    if value is None or value == "":
        return NOTHING
    if field.name in STATES:
        return badge(value)
    if field.flatchoices:
        return dict(field.flatchoices).get(value, value)
    return _by_name(field.name, value) if isinstance(value, int) else _by_type(value)


def _by_name(name: str, value: int) -> Any:
    """Whole numbers mean what their field's name says."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("micros"):
        return money(value)
    if "bytes" in name.split("_"):
        return bytes_text(value)
    if name.endswith("_mib_ms"):
        return f"{value / 1024 / 1000:,.3f} GiB s"
    return f"{value / 1000:,.3f} s" if name.endswith("_ms") else value


def _by_type(value: Any) -> Any:
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, Range):
        return format_html("{} to {}", when(value.lower), when(value.upper) if value.upper else "open")
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return ", ".join(str(item) for item in value) or NOTHING
    if isinstance(value, dict | list):
        return document(value)
    if isinstance(value, UUID) or (isinstance(value, str) and len(value) == HASH_LENGTH):
        return format_html('<code class="gf-code" title="{}">{}</code>', value, short(value))
    return number_text(value) if isinstance(value, Decimal | float) else value


def number_text(value: Decimal | float) -> str:
    """A number without digits that say nothing: decimals as they are, fractions to six significant digits.

    >>> number_text(Decimal("0.500000")), number_text(0.0157917655), number_text(12345.678), number_text(0.0)
    ('0.5', '0.0157918', '12,345.7', '0')
    """
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{Decimal(f'{value:.6g}'):,f}"

"""Taxes in the operators' pages: forms to set rates and to ask organizations for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.invoices import taxing
from billing.models import Tax, TaxAssignment, TaxRate
from core.admin import Page, ServicePage, carry_out_all, exact

if TYPE_CHECKING:
    from django.contrib.admin.widgets import AdminSplitDateTime

    _Form = forms.ModelForm[Any]
else:
    from unfold.widgets import UnfoldAdminSplitDateTimeWidget as AdminSplitDateTime

    _Form = forms.ModelForm


@admin.register(Tax)
class TaxPage(ServicePage):
    columns = ("id", "code", "name")
    search_fields = ("code",)
    fields = ("code", "name")

    def make(self, given: dict[str, Any], user: Any) -> Tax:
        return taxing.add_tax(given["code"], given["name"])


class DatedForm(_Form):
    """A form of something that is in force from a moment on."""

    start = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime, help_text="in force from then on; now when left empty (UTC)"
    )


@admin.register(TaxRate)
class TaxRatePage(ServicePage):
    """Rates from when on. A new one ends the one of its tax, category and region before it."""

    columns = ("id", "tax", "category", "region", "percent", "valid")
    joins = ("region",)
    search_fields = ("=pk", "tax__code")
    form = DatedForm
    fields = ("tax", "percent", "category", "region", "start")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "percent":
            kwargs |= {"validators": [MinValueValidator(0), MaxValueValidator(100)]}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def make(self, given: dict[str, Any], user: Any) -> TaxRate:
        region = given["region"] and given["region"].pk
        (made,) = taxing.set_rates([taxing.RateDraft(given["tax"].pk, given["percent"], given["category"], region, given["start"])])
        return made


@admin.action(description="Ask no more", permissions=["operate"])
def stop(page: Page, request: HttpRequest, queryset: QuerySet[TaxAssignment]) -> None:
    carry_out_all(page, request, queryset, lambda numbers: len(taxing.stop_assignments(numbers)), "asked no more")


@admin.register(TaxAssignment)
class TaxAssignmentPage(ServicePage):
    """Who is asked for which tax. A new assignment ends the one to the same tax before it."""

    columns = ("id", "tax", "organization", "category", "valid")
    list_filter = (exact("organization__slug", "organization"),)
    search_fields = ("=pk", "=organization__slug")
    form = DatedForm
    fields = ("tax", "organization", "category", "start")
    actions = (stop,)

    def fits(self, action: str, obj: Any) -> bool:
        return obj.valid.upper is None or obj.valid.upper > timezone.now()

    def make(self, given: dict[str, Any], user: Any) -> TaxAssignment:
        draft = taxing.AssignmentDraft(given["tax"].pk, given["organization"].pk, given["category"], given["start"])
        (made,) = taxing.assign_taxes([draft])
        return made

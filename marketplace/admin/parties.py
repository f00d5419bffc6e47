"""Organizations, the people in them, their keys; and what operators did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin import OperatorPage, Page, Panel, badge, carry_out_all, exact, link, panel, to
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import ApiKey, Contract, Membership, Organization, Pool, Task, User
from marketplace.services.operators import readmit_organizations, revoke_keys, suspend_organizations

if TYPE_CHECKING:
    from django.contrib.auth.admin import UserAdmin
    from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
else:
    from django.contrib.auth.admin import UserAdmin
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister(Group)  # what an operator may do is `is_staff`; what a member may do is the membership


@admin.register(Contract)
class ContractPage(Page):
    """Signed through the API or the command line; never changed."""

    columns = ("id", "organization", "valid", "zone", "currency", "credit_limit_micros", "platform_basis_points", "signed_at")
    joins = ("organization",)
    list_filter = (exact("organization__slug", "organization"),)
    search_fields = ("organization__slug", "=pk")

    def name_of(self, obj: Any) -> str:
        return f"contract {obj.pk}"


@admin.register(User)
class UserPage(OperatorPage, UserAdmin):
    """People. Only superusers edit them: who could make operators would be more than an operator."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    columns = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login", "date_joined")
    hidden = ("password",)
    cards = (
        ("Person", ("username", "first_name", "last_name", "email", "is_active")),
        ("Access", ("is_staff", "is_superuser", "last_login", "date_joined")),
    )
    fieldsets = (
        ("Person", {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets = (("Person", {"fields": ("username", "password1", "password2")}),)
    readonly_fields = ("last_login", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("username", "email", "=pk")
    filter_horizontal = ()
    ordering = ("username",)


@admin.register(Organization)
class OrganizationPage(OperatorPage):
    columns = ("slug", "name", "standing", "is_provider", "is_publisher", "is_user", "region", "created_at")
    cards = (
        ("Party", ("slug", "name", "standing", "billing_address", "tax_number", "region", "created_at")),
        ("May", ("is_user", "is_provider", "is_publisher", "quota_bytes", "suspended_at")),
    )
    fieldsets = ((None, {"fields": (
        "slug", "name", "ascii_name", "billing_address", "tax_number", "region", "zone", "industry", "is_user", "is_provider", "is_publisher", "quota_bytes",
    )}),)  # fmt: skip
    autocomplete_fields = ("region",)
    list_filter = ("is_provider", "is_publisher", "is_user", ("suspended_at", admin.EmptyFieldListFilter))
    search_fields = ("slug", "name", "=pk")
    date_hierarchy = "created_at"
    ordering = ("slug",)
    actions = ("suspend", "readmit")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()  # programs name it

    @admin.display(description="state")
    def standing(self, obj: Organization) -> SafeString:
        return badge("suspended" if obj.suspended_at else "active")

    @admin.action(description="Suspend", permissions=["operate"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        carry_out_all(self, request, queryset, suspend_organizations, "suspended")

    @admin.action(description="Readmit", permissions=["operate"])
    def readmit(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        carry_out_all(self, request, queryset, readmit_organizations, "readmitted")

    def fits(self, action: str, obj: Organization) -> bool:
        return (action == "readmit") == (obj.suspended_at is not None)


@admin.register(Membership)
class MembershipPage(Page):
    columns = ("organization", "user", "role", "created_at")
    list_filter = ("role", exact("organization__slug"), exact("user__username"))
    search_fields = ("organization__slug", "user__username")


@admin.register(ApiKey)
class ApiKeyPage(Page):
    columns = ("prefix", "name", "standing", "organization", "user", "scopes", "expires_at", "last_used_at")
    hidden = ("secret_hash",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), exact("organization__slug"), exact("user__username"))
    search_fields = ("=prefix", "name", "organization__slug", "user__username")
    actions = ("revoke",)

    @admin.display(description="state")
    def standing(self, obj: ApiKey) -> SafeString:
        return badge("revoked" if obj.revoked_at else "active")

    @admin.action(description="Revoke", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        carry_out_all(self, request, queryset, revoke_keys, "revoked")

    def fits(self, action: str, obj: ApiKey) -> bool:
        return obj.revoked_at is None


@admin.register(LogEntry)
class LogPage(Page):
    """What was done through these pages, and by whom."""

    columns = ("action_time", "user", "content_type", "object_repr", "change_message")
    search_fields = ("object_repr", "=object_id", "user__username")
    list_filter = (exact("user__username"),)
    huge = True


@panel(Organization)
def members(organization: Organization) -> Panel | None:
    rows = organization.memberships.select_related("user").order_by("user__username")[:SHOWN]
    more = link(list_url(Membership, organization=organization.slug), "all members")
    return table("Members", ("user", "role"), ((to(User, m.user_id, m.user), badge(m.role)) for m in rows), more=more)


@panel(Organization)
def pools(organization: Organization) -> Panel | None:
    rows = organization.pools.select_related("region").order_by("identifier")[:SHOWN]
    lines = ((to(Pool, p.pk, p), p.name, badge(p.state), p.region, p.cores) for p in rows)
    more = link(list_url(Pool, organization=organization.slug), "all pools")
    return table("Pools", ("identifier", "name", "state", "region", "#cores"), lines, more=more)


@panel(Organization)
def newest_tasks(organization: Organization) -> Panel | None:
    rows = organization.tasks.order_by("-pk")[:10]
    lines = ((to(Task, t.pk), t.name, badge(t.state), f"{t.units_done}/{t.units_total}") for t in rows)
    more = link(list_url(Task, organization=organization.slug), "all tasks")
    return table("Newest tasks", ("task", "name", "state", "#units done"), lines, more=more)

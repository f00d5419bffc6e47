"""The wallet in the operators' pages: grants, what was taken of them, and both on their organization's page."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.models import Grant, GrantMove
from core.admin import Page, Panel, badge, exact, money, one_of, panel, table, to, when
from marketplace.models import Organization


@admin.register(Grant)
class GrantPage(Page):
    columns = ("id", "organization", "amount", "left", "expires_at", "reason", "key", "granted_by", "granted_at")
    list_filter = (exact("organization__slug", "organization"), exact("currency"))
    search_fields = ("=pk", "=key", "=organization__slug")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: Grant) -> SafeString:
        return money(obj.amount_micros, obj.currency)

    @admin.display(description="left")
    def left(self, obj: Grant) -> SafeString:
        return money(obj.left_micros, obj.currency)


@admin.register(GrantMove)
class GrantMovePage(Page):
    columns = ("id", "grant", "kind", "amount_micros", "payment", "entry", "moved_at")
    chain = ("grant",)
    list_filter = (exact("grant"), one_of("kind", GrantMove.Kind.values))
    search_fields = ("=pk", "=grant")
    huge = True


@panel(Grant)
def moves_of_grant(grant: Grant) -> Panel | None:
    lines = [(to(GrantMove, m.pk), badge(m.kind), when(m.moved_at), money(m.amount_micros)) for m in grant.moves.order_by("pk")[:200]]
    return table("Taken of it", ("move", "kind", "at", "#amount"), lines)


@panel(Organization)
def grants_of_organization(organization: Organization) -> Panel | None:
    rows = Grant.objects.filter(organization=organization, left_micros__gt=0).order_by("expires_at", "pk")[:200]
    lines = [(to(Grant, g.pk), g.reason, when(g.expires_at), money(g.amount_micros, g.currency), money(g.left_micros, g.currency)) for g in rows]
    return table("Grants", ("grant", "reason", "expires", "#amount", "#left"), lines)

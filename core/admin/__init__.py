"""What every app's admin pages are made of: pages that only show, cells, filters, panels. No rules live here."""

from core.admin.cells import badge, bytes_text, link, money, short, to, when
from core.admin.filters import Since, exact, one_of
from core.admin.paging import limited
from core.admin.panels import Panel, panel, table
from core.admin.site import OperatorPage, Page, ServicePage, carry_out, carry_out_all

__all__ = [
    "OperatorPage",
    "Page",
    "Panel",
    "ServicePage",
    "Since",
    "badge",
    "bytes_text",
    "carry_out",
    "carry_out_all",
    "exact",
    "limited",
    "link",
    "money",
    "one_of",
    "panel",
    "short",
    "table",
    "to",
    "when",
]

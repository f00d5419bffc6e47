"""The one permission class: deny, unless the view names a scope for this method and the caller holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.errors import NotAllowed
from marketplace.auth import Caller, caller_of
from marketplace.scopes import OPERATOR, PUBLIC

if TYPE_CHECKING:  # DRF's views import this module, by its name in the settings
    from rest_framework.views import APIView

# What a view declares: method (or a viewset's action) -> scope; None = any known caller; missing = nobody.
Scopes = Mapping[str, str | None]


class HasScope(BasePermission):
    """Reads `view.scopes`. Operators pass; anonymous callers get 401, callers without the scope 403.

        scopes = {"GET": "tasks:read", "POST": "tasks:write"}      # or per action: {"list": "tasks:read"}
    """

    message = "the caller may not do this"
    code = "permission_denied"

    def has_permission(self, request: Request, view: APIView) -> bool:
        if _will_be_refused_by_method(request, view):
            return True
        declared, scope = scope_of(view, request.method or "")
        if scope == PUBLIC:
            return True
        if not request.user.is_authenticated or not declared:
            return False
        return may(caller_of(request), scope)


def scope_of(view: APIView, method: str) -> tuple[bool, str | None]:
    """(declared at all, scope) for a method of a view. HEAD counts as GET; OPTIONS: any caller."""
    scopes: Scopes = getattr(view, "scopes", {})
    action: Any = getattr(view, "action", None)
    if action in scopes:
        return True, scopes[action]
    name = "GET" if method == "HEAD" else method
    return (name in scopes or name == "OPTIONS"), scopes.get(name)


def _will_be_refused_by_method(request: Request, view: APIView) -> bool:
    """A method that the view does not have is answered 405 to everybody, after this check."""
    return not hasattr(view, (request.method or "").lower())


def may(caller: Caller, scope: str | None) -> bool:
    """True for a caller who may do this; NotAllowed that says why not, for everybody else. None asks for any known caller."""
    if caller.is_operator or scope is None:
        return True
    if scope == OPERATOR:
        raise NotAllowed("operators_only", "only operators may do this")
    organization = caller.acting_for()
    if organization.suspended_at is not None and not scope.endswith(":read"):
        raise NotAllowed("organization_suspended", "the organization is suspended; it may only read")
    if scope not in caller.scopes:
        raise NotAllowed("scope_missing", f"this needs the scope {scope}", scope=scope)
    return True

"""Who may do what, as data: scopes, and the scopes that each role in an organization carries."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

TASKS_READ: Final = "tasks:read"
TASKS_WRITE: Final = "tasks:write"
ARTIFACTS_READ: Final = "artifacts:read"
ARTIFACTS_WRITE: Final = "artifacts:write"
PROVIDERS_READ: Final = "providers:read"
PROVIDERS_WRITE: Final = "providers:write"
CAPABILITIES_READ: Final = "capabilities:read"
CAPABILITIES_WRITE: Final = "capabilities:write"
BILLING_READ: Final = "billing:read"
BILLING_WRITE: Final = "billing:write"
ORGANIZATION_READ: Final = "organization:read"
ORGANIZATION_WRITE: Final = "organization:write"
EVERYTHING: Final = "*"

# Not scopes a key can carry: a view that asks for one of these is for operators only, or for everybody.
OPERATOR: Final = "operator"
PUBLIC: Final = "public"

_VIEWER: Final = frozenset({TASKS_READ, ARTIFACTS_READ, PROVIDERS_READ, CAPABILITIES_READ, ORGANIZATION_READ})
_BILLING: Final = _VIEWER | {BILLING_READ, BILLING_WRITE}
_MEMBER: Final = _BILLING | {TASKS_WRITE, ARTIFACTS_WRITE, PROVIDERS_WRITE, CAPABILITIES_WRITE}
ALL_SCOPES: Final = _MEMBER | {ORGANIZATION_WRITE}

SCOPES_OF_ROLE: Final = {"viewer": _VIEWER, "billing": _BILLING, "member": _MEMBER, "owner": ALL_SCOPES}


def granted(role: str | None, *, is_operator: bool, key_scopes: Collection[str] | None) -> frozenset[str]:
    """The scopes of a caller: what the role (or being an operator) allows, narrowed by the key's own scopes.

    `key_scopes` is None for a session. A role nobody knows grants nothing.
    """
    held = ALL_SCOPES if is_operator else SCOPES_OF_ROLE.get(role or "", frozenset())
    if key_scopes is None or EVERYTHING in key_scopes:
        return held
    return held & frozenset(key_scopes)


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Those names that are no scope, sorted."""
    return sorted(set(scopes) - ALL_SCOPES - {EVERYTHING})

"""Who am I, my organization, its members and keys."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace import queries
from marketplace.api.converters import PREFIX, USERNAME
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.api.throttles import LoginByAddress, LoginByName
from marketplace.auth import Caller, caller_of
from marketplace.models import Membership, Organization, Region
from marketplace.models.accounts import SLUG
from marketplace.permissions import Scopes
from marketplace.scopes import ALL_SCOPES, EVERYTHING, OPERATOR, ORGANIZATION_READ, ORGANIZATION_WRITE, PUBLIC
from marketplace.services import accounts

SCOPE_NAMES: Final = [*sorted(ALL_SCOPES), EVERYTHING]
MAX_QUOTA: Final = 2**53 - 1


class UserOut(Out):
    username = serializers.CharField()
    is_operator = serializers.BooleanField()


class OrganizationOut(Out):
    slug = serializers.CharField()
    name = serializers.CharField()
    is_provider = serializers.BooleanField()
    is_publisher = serializers.BooleanField()
    is_user = serializers.BooleanField()
    region = serializers.CharField(source="region.code", allow_null=True, default=None)
    zone = serializers.CharField(help_text="IANA time zone of its days and months; empty: the market's")
    ascii_name = serializers.CharField(help_text="what exports call it in ASCII; empty: made of its name")
    billing_address = serializers.CharField(help_text="as it stands on its next invoice")
    tax_number = serializers.CharField(help_text="as it stands on its next invoice")
    industry = serializers.CharField(help_text="its section (A to T) of GB/T 4754-2017; empty: not said")
    quota_bytes = serializers.IntegerField(help_text="artifact bytes; 0 = the market's default")
    suspended_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class MeOut(Out):
    user = UserOut()
    organization = OrganizationOut(allow_null=True)
    organizations = serializers.ListField(child=serializers.CharField(), help_text="slugs to choose from")
    role = serializers.CharField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField())


class OrganizationIn(In):
    slug = serializers.RegexField(SLUG.regex, max_length=63)
    name = serializers.CharField(max_length=200)
    is_provider = serializers.BooleanField(default=False)
    is_publisher = serializers.BooleanField(default=False)
    is_user = serializers.BooleanField(default=True)
    owner = serializers.CharField(max_length=150, help_text="user name of its first owner")


class RegionField(serializers.SlugRelatedField[Region]):
    """A region's code, or null for none; the library would read an empty text as null."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data == "":
            self.fail("does_not_exist", slug_name=self.slug_field, value="")
        return super().run_validation(data)


class BillingProfileIn(In):
    """What of the buyer stands on invoices besides the name."""

    billing_address = serializers.RegexField(
        r"^[^\x00-\x1f\x7f]*\Z", max_length=300, allow_blank=True, required=False, help_text="one line; stands on its next invoice"
    )
    tax_number = serializers.RegexField(
        r"^[0-9A-Za-z ./-]*\Z", max_length=50, allow_blank=True, required=False, help_text="stands on its next invoice"
    )


class OrganizationPatchIn(BillingProfileIn):
    name = serializers.CharField(max_length=200, required=False)
    region = RegionField(
        slug_field="code", queryset=Region.objects.all(), allow_null=True, required=False
    )
    zone = serializers.CharField(
        max_length=64, allow_blank=True, required=False, help_text="IANA time zone of its days and months; empty: the market's"
    )
    ascii_name = serializers.RegexField(
        r"^[\x20-\x7e]*\Z",
        max_length=200,
        allow_blank=True,
        required=False,
        help_text="what exports call it in ASCII; empty: made of its name",
    )
    industry = serializers.RegexField(
        r"^[A-T]?\Z", max_length=1, allow_blank=True, required=False, help_text="its section (A to T) of GB/T 4754-2017"
    )
    is_provider = serializers.BooleanField(required=False, help_text="operators only")
    is_publisher = serializers.BooleanField(required=False, help_text="operators only")
    is_user = serializers.BooleanField(required=False, help_text="operators only")
    quota_bytes = serializers.IntegerField(
        min_value=0, max_value=MAX_QUOTA, required=False, help_text="operators only"
    )


class MemberIn(In):
    username = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(Membership.Role.choices)


class RoleIn(In):
    role = serializers.ChoiceField(Membership.Role.choices)


class MemberOut(Out):
    username = serializers.CharField(source="user.username")
    role = serializers.CharField()
    created_at = serializers.DateTimeField()


class KeyIn(In):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(SCOPE_NAMES), min_length=1, max_length=len(SCOPE_NAMES)
    )
    expires_in_days = serializers.IntegerField(min_value=1, max_value=3650, required=False, allow_null=True)


class LoginIn(In):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=4096, trim_whitespace=False, write_only=True)
    organization = serializers.CharField(max_length=63, required=False, allow_null=True)
    name = serializers.CharField(max_length=100, default="command line")


class KeyOut(Out):
    prefix = serializers.CharField()
    name = serializers.CharField()
    user = serializers.CharField(source="user.username")
    scopes = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class IssuedKeyOut(KeyOut):
    organization = serializers.CharField(source="organization.slug")
    key = serializers.CharField(help_text="the key itself; shown only now")


def issued(answer: accounts.IssuedKey) -> Response:
    """201 with the key's text."""
    answer.key.key = answer.text  # type: ignore[attr-defined]
    return Response(IssuedKeyOut(answer.key).data, status=201)


class MeView(APIView):
    scopes: ClassVar[Scopes] = {"GET": None}

    @extend_schema(operation_id="me", responses=MeOut)
    def get(self, request: Request) -> Response:
        """Who is calling, for which organization, with which rights."""
        return Response(MeOut(_me(caller_of(request))).data)


def _me(caller: Caller) -> dict[str, Any]:
    slugs = Organization.objects.filter(memberships__user=caller.user).values_list("slug", flat=True)
    return {
        "user": {"username": caller.user.username, "is_operator": caller.is_operator},
        "organization": caller.organization,
        "organizations": sorted(slugs),
        "role": caller.role,
        "scopes": sorted(caller.scopes),
    }


class LoginView(APIView):
    authentication_classes = []
    throttle_classes = [LoginByName, LoginByAddress]
    scopes: ClassVar[Scopes] = {"POST": PUBLIC}

    @extend_schema(operation_id="keys_login", request=LoginIn, responses={201: IssuedKeyOut}, auth=[])
    def post(self, request: Request) -> Response:
        """A key against a password, for the command line. Lives 90 days. Rate limited."""
        given = valid(LoginIn(data=request.data))
        chosen = given.get("organization")
        return issued(accounts.log_in(given["username"], given["password"], chosen, given["name"]))


class KeysView(ListView):
    scopes: ClassVar[Scopes] = {"GET": ORGANIZATION_READ, "POST": ORGANIZATION_WRITE}
    serializer_class = KeyOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.keys_of(caller)

    @extend_schema(operation_id="keys_create", request=KeyIn, responses={201: IssuedKeyOut})
    def post(self, request: Request) -> Response:
        """A new key of the caller's; scopes beyond the caller's own are refused."""
        given = valid(KeyIn(data=request.data))
        days = given.get("expires_in_days")
        caller = caller_of(request)
        return issued(
            accounts.create_key(caller, name=given["name"], scopes=given["scopes"], expires_in_days=days)
        )


class KeyView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": ORGANIZATION_WRITE}

    @extend_schema(operation_id="keys_revoke", parameters=[PREFIX], responses={204: None})
    def delete(self, request: Request, prefix: str) -> Response:
        """Revoke a key at once."""
        accounts.revoke_key(caller_of(request), prefix)
        return Response(status=204)


class RotateView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    @extend_schema(
        operation_id="keys_rotate", parameters=[PREFIX], request=None, responses={201: IssuedKeyOut}
    )
    def post(self, request: Request, prefix: str) -> Response:
        """A new key like an own one; the old one lives 24 hours more."""
        return issued(accounts.rotate_key(caller_of(request), prefix))


class OrganizationView(APIView):
    scopes: ClassVar[Scopes] = {"GET": ORGANIZATION_READ, "PATCH": ORGANIZATION_WRITE}

    @extend_schema(operation_id="organization_retrieve", responses=OrganizationOut)
    def get(self, request: Request) -> Response:
        """The caller's own organization."""
        return Response(OrganizationOut(caller_of(request).acting_for()).data)

    @extend_schema(
        operation_id="organization_update", request=OrganizationPatchIn, responses=OrganizationOut
    )
    def patch(self, request: Request) -> Response:
        """Change name, name in ASCII, billing address, tax number, region or time zone; operators also its kind and quota."""
        given = valid(OrganizationPatchIn(data=request.data))
        return Response(OrganizationOut(accounts.update_organization(caller_of(request), given)).data)


class MembersView(ListView):
    scopes: ClassVar[Scopes] = {"GET": ORGANIZATION_READ, "POST": ORGANIZATION_WRITE}
    serializer_class = MemberOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.members_of(caller.acting_for())

    @extend_schema(operation_id="members_add", request=MemberIn, responses={201: MemberOut})
    def post(self, request: Request) -> Response:
        """Make a person a member."""
        given = valid(MemberIn(data=request.data))
        organization = caller_of(request).acting_for()
        member = accounts.add_member(organization, given["username"], given["role"])
        return Response(MemberOut(member).data, status=201)


class MemberView(APIView):
    scopes: ClassVar[Scopes] = {"PATCH": ORGANIZATION_WRITE, "DELETE": ORGANIZATION_WRITE}

    @extend_schema(
        operation_id="members_change", parameters=[USERNAME], request=RoleIn, responses=MemberOut
    )
    def patch(self, request: Request, username: str) -> Response:
        """Give a member another role; the last owner keeps it."""
        given = valid(RoleIn(data=request.data))
        member = accounts.change_role(caller_of(request).acting_for(), username, given["role"])
        return Response(MemberOut(member).data)

    @extend_schema(operation_id="members_remove", parameters=[USERNAME], responses={204: None})
    def delete(self, request: Request, username: str) -> Response:
        """End a membership, and that person's keys of this organization."""
        accounts.remove_member(caller_of(request).acting_for(), username)
        return Response(status=204)


class OrganizationsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = OrganizationOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.organizations_of(caller)

    @extend_schema(
        operation_id="organizations_create", request=OrganizationIn, responses={201: OrganizationOut}
    )
    def post(self, request: Request) -> Response:
        """Admit a party to the market, with its first owner."""
        given = valid(OrganizationIn(data=request.data))
        owner = given.pop("owner")
        return Response(OrganizationOut(accounts.create_organization(given, owner)).data, status=201)


urlpatterns = [
    path("me", MeView.as_view()),
    path("keys", KeysView.as_view()),
    path("keys/login", LoginView.as_view()),
    path("keys/<key:prefix>", KeyView.as_view()),
    path("keys/<key:prefix>/rotate", RotateView.as_view()),
    path("organization", OrganizationView.as_view()),
    path("organization/members", MembersView.as_view()),
    path("organization/members/<username:username>", MemberView.as_view()),
    path("organizations", OrganizationsView.as_view()),
]

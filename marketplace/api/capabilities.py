"""Capabilities: what can be run, and bringing it. Publishing starts tasks: its door is the scheduler's."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Prefetch, Q, QuerySet
from django.urls import path, register_converter
from django.urls.converters import StringConverter
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from semantic_version import Version

from core.errors import NotFound
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, TrueOrFalse, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Capability, CapabilityVersion
from marketplace.permissions import Scopes
from marketplace.scopes import CAPABILITIES_READ, CAPABILITIES_WRITE, OPERATOR
from marketplace.services import capabilities

State = CapabilityVersion.State
PUBLIC_STATES: Final = [State.PUBLISHED, State.DEPRECATED]
SLUG_PATTERN: Final = "[a-z][a-z0-9-]{1,62}"
VERSION_PATTERN: Final = r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,30}"


class SlugConverter(StringConverter):
    """An organization's or a capability's name."""

    regex = SLUG_PATTERN


class VersionConverter(StringConverter):
    """A semantic version."""

    regex = VERSION_PATTERN


register_converter(SlugConverter, "capability_slug")
register_converter(VersionConverter, "semver")


def _in_path(name: str, pattern: str) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "string", "pattern": f"^{pattern}$"}, OpenApiParameter.PATH)


ORG: Final = _in_path("org", SLUG_PATTERN)
NAME: Final = _in_path("name", SLUG_PATTERN)
VERSION: Final = _in_path("version", VERSION_PATTERN)


class VersionSummaryOut(Out):
    version = serializers.CharField(help_text="semantic version")
    state = serializers.ChoiceField(State.choices)
    published_at = serializers.DateTimeField(allow_null=True)
    unstable_since = serializers.DateTimeField(allow_null=True, help_text="three of its tasks ended without agreement")


class CapabilityOut(Out):
    name = serializers.CharField(source="*", help_text="org/name")
    summary = serializers.CharField()
    application = serializers.CharField(help_text="of which new kind of application it is, as an operator says; empty: of none")
    versions = serializers.SerializerMethodField(help_text="newest first")

    @extend_schema_field(VersionSummaryOut(many=True))
    def get_versions(self, capability: Any) -> Any:
        return VersionSummaryOut(_newest_first(capability.visible), many=True).data


class TestReportOut(Out):
    __test__ = False

    name = serializers.CharField()
    state = serializers.ChoiceField(["passed", "failed"])
    task = serializers.UUIDField()
    detail = serializers.CharField()


class VersionOut(Out):
    name = serializers.CharField(source="capability", help_text="org/name")
    version = serializers.CharField()
    summary = serializers.CharField(source="manifest.summary")
    state = serializers.ChoiceField(State.choices)
    digest = serializers.CharField(help_text="SHA-256 over the manifest and the program's digest")
    program = serializers.CharField(source="program_id", allow_null=True, help_text="SHA-256")
    requirements = serializers.CharField(help_text="pinned packages, as in the program's folder")
    trusted = serializers.BooleanField(help_text="may run without a sandbox")
    manifest = serializers.DictField(help_text="docs/manifest.md, defaults filled in")
    test_report = TestReportOut(many=True)
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(allow_null=True)
    unstable_since = serializers.DateTimeField(allow_null=True, help_text="three of its tasks ended without agreement")


class CapabilityDetailOut(CapabilityOut):
    """With the newest version that the caller may see, published ones first."""

    latest = serializers.SerializerMethodField()

    @extend_schema_field(VersionOut(allow_null=True))
    def get_latest(self, capability: Any) -> Any:
        versions = _newest_first(capability.visible)
        published = [version for version in versions if version.state == State.PUBLISHED]
        first = next(iter(published or versions), None)
        return VersionOut(first).data if first else None


@extend_schema_field(
    {
        "oneOf": [
            {"type": "object", "additionalProperties": True, "description": "docs/manifest.md"},
            {"type": "string", "maxLength": 262144, "description": "the same as YAML"},
        ]
    }
)
class ManifestField(serializers.Field[Any, Any, Any, Any]):
    """A document, or its YAML text."""

    default_error_messages: ClassVar = {"invalid": "an object, or YAML text"}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict | str):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class CapabilityIn(In):
    manifest = ManifestField()
    program = serializers.UUIDField(required=False, allow_null=True, help_text="artifact: .tar.gz of the folder")


class ApplicationIn(In):
    application = serializers.CharField(max_length=20, allow_blank=True, help_text="a kind, or empty")


class TrustIn(In):
    trusted = TrueOrFalse(default=True)


class CapabilitiesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": CAPABILITIES_READ, "POST": CAPABILITIES_WRITE}
    serializer_class = CapabilityOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return capabilities_of(caller)

    @extend_schema(
        operation_id="capabilities_create",
        request=CapabilityIn,
        responses={200: VersionOut, 201: VersionOut},
    )
    def post(self, request: Request) -> Response:
        """A draft version. The same content again is answered with the version that is (200)."""
        given = valid(CapabilityIn(data=request.data))
        owner = caller_of(request).acting_for()
        version, new = capabilities.create_version(owner, given["manifest"], given.get("program"))
        return Response(VersionOut(version).data, status=201 if new else 200)


class CapabilityView(APIView):
    scopes: ClassVar[Scopes] = {"GET": CAPABILITIES_READ}

    @extend_schema(operation_id="capabilities_retrieve", parameters=[ORG, NAME], responses=CapabilityDetailOut)
    def get(self, request: Request, org: str, name: str) -> Response:
        """A capability with its versions, and the manifest of the latest."""
        rows = capabilities_of(caller_of(request)).filter(organization__slug=org, name=name)
        capability = rows.first()
        if capability is None:
            raise NotFound("capability_unknown", "no such capability")
        return Response(CapabilityDetailOut(capability).data)


class VersionView(APIView):
    scopes: ClassVar[Scopes] = {"GET": CAPABILITIES_READ}

    @extend_schema(operation_id="capabilities_version", parameters=[ORG, NAME, VERSION], responses=VersionOut)
    def get(self, request: Request, org: str, name: str, version: str) -> Response:
        """One version with its manifest and the report of its tests."""
        return Response(VersionOut(visible_version(caller_of(request), org, name, version)).data)


class DeprecateView(APIView):
    scopes: ClassVar[Scopes] = {"POST": CAPABILITIES_WRITE}

    @extend_schema(
        operation_id="capabilities_deprecate",
        parameters=[ORG, NAME, VERSION],
        request=None,
        responses=VersionOut,
    )
    def post(self, request: Request, org: str, name: str, version: str) -> Response:
        """Take no new tasks with it."""
        own = own_version(caller_of(request), org, name, version)
        return Response(VersionOut(capabilities.deprecate(own)).data)


class WithdrawView(APIView):
    scopes: ClassVar[Scopes] = {"POST": CAPABILITIES_WRITE}

    @extend_schema(
        operation_id="capabilities_withdraw",
        parameters=[ORG, NAME, VERSION],
        request=None,
        responses=VersionOut,
    )
    def post(self, request: Request, org: str, name: str, version: str) -> Response:
        """Take no new tasks with it, and cancel those that have not begun."""
        own = own_version(caller_of(request), org, name, version)
        return Response(VersionOut(capabilities.withdraw(own)).data)


class TrustView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(
        operation_id="capabilities_trust",
        parameters=[ORG, NAME, VERSION],
        request=TrustIn,
        responses=VersionOut,
    )
    def post(self, request: Request, org: str, name: str, version: str) -> Response:
        """An operator's word: it may run without a sandbox (or, with `trusted: false`, no longer)."""
        given = valid(TrustIn(data=request.data))
        own = own_version(caller_of(request), org, name, version)
        return Response(VersionOut(capabilities.trust(own, trusted=given["trusted"])).data)


class ApplicationView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="capabilities_application", parameters=[ORG, NAME], request=ApplicationIn, responses=CapabilityOut)
    def post(self, request: Request, org: str, name: str) -> Response:
        """An operator's word: of which new kind of application it is. The index counts those that are in use, by province."""
        given = valid(ApplicationIn(data=request.data))
        found = capabilities_of(caller_of(request)).filter(organization__slug=org, name=name).first()
        if found is None:
            raise NotFound("capability_unknown", "no such capability")
        capabilities.say_application(found, given["application"])
        return Response(CapabilityOut(found).data)


def versions_of(caller: Caller) -> QuerySet[CapabilityVersion]:
    """Published and deprecated versions of everybody, and all of the caller's own. Operators see all."""
    rows = CapabilityVersion.objects.select_related("capability__organization")
    if caller.is_operator:
        return rows
    own = Q(capability__organization=caller.organization) if caller.organization else Q(pk__in=[])
    return rows.filter(own | Q(state__in=PUBLIC_STATES))


def capabilities_of(caller: Caller) -> QuerySet[Capability]:
    """Capabilities with a version that the caller may see, each with those versions in `visible`."""
    versions = versions_of(caller)
    rows = Capability.objects.select_related("organization").filter(pk__in=versions.values("capability"))
    return rows.prefetch_related(Prefetch("versions", queryset=versions, to_attr="visible"))


def visible_version(caller: Caller, org: str, name: str, version: str) -> CapabilityVersion:
    """One version that the caller may see, or NotFound `version_unknown`: a stranger's draft is not there."""
    rows = versions_of(caller).filter(capability__organization__slug=org, capability__name=name)
    found = rows.filter(version=version).first()
    if found is None:
        raise NotFound("version_unknown", "no such version")
    return found


def own_version(caller: Caller, org: str, name: str, version: str) -> CapabilityVersion:
    """A version that the caller may change, or NotFound `version_unknown`."""
    found = visible_version(caller, org, name, version)
    if not caller.is_operator and found.capability.organization_id != caller.acting_for().pk:
        raise NotFound("version_unknown", "no such version of yours")
    return found


def _newest_first(versions: list[CapabilityVersion]) -> list[CapabilityVersion]:
    return sorted(versions, key=lambda version: Version(version.version), reverse=True)


_ONE: Final = "capabilities/<capability_slug:org>/<capability_slug:name>"
urlpatterns = [
    path("capabilities", CapabilitiesView.as_view()),
    path(_ONE, CapabilityView.as_view()),
    path(f"{_ONE}/application", ApplicationView.as_view()),
    path(f"{_ONE}/versions/<semver:version>", VersionView.as_view()),
    path(f"{_ONE}/versions/<semver:version>/deprecate", DeprecateView.as_view()),
    path(f"{_ONE}/versions/<semver:version>/withdraw", WithdrawView.as_view()),
    path(f"{_ONE}/versions/<semver:version>/trust", TrustView.as_view()),
]

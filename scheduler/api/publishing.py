"""Publishing a version: its test cases run as tasks on a pool of the market, so the door is the scheduler's."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.api.capabilities import NAME, ORG, VERSION, VersionOut, own_version
from marketplace.auth import caller_of
from scheduler.services.concluding import publish_version


class PublishView(APIView):
    """Run the version's tests; it is listed when all pass. Read the version again for `state` and `test_report`."""

    scopes = {"POST": "capabilities:write"}

    @extend_schema(parameters=[ORG, NAME, VERSION], request=None, responses={202: VersionOut})
    def post(self, request: Request, org: str, name: str, version: str) -> Response:
        own = own_version(caller_of(request), org, name, version)
        return Response(VersionOut(publish_version(own)).data, status=status.HTTP_202_ACCEPTED)


urlpatterns = [
    path(
        "capabilities/<capability_slug:org>/<capability_slug:name>/versions/<semver:version>/publish",
        PublishView.as_view(),
    ),
]

"""Uploads that resume, and the organization's artifacts."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from marketplace import storage
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Artifact, Replica, Upload
from marketplace.permissions import Scopes
from marketplace.queries import artifacts_of, owned
from marketplace.scopes import ARTIFACTS_READ, ARTIFACTS_WRITE
from marketplace.services import artifacts, replicas
from marketplace.spool import Readable
from marketplace.whereabouts import whereabouts

MAX_INT64: Final = 2**63 - 1
MEDIA_TYPE: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}/[A-Za-z0-9!#$&^_.+-]{1,35}$"
OFFSET: Final = OpenApiParameter(
    "Upload-Offset",
    {"type": "integer", "minimum": 0, "maximum": MAX_INT64},
    OpenApiParameter.HEADER,
    required=True,
    description="bytes that have arrived so far",
)
RANGE: Final = OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="one range, bytes=a-b")
REGION: Final = OpenApiParameter("region", str, OpenApiParameter.PATH, description="its code")
_ANY_TYPE: Final = "*/*"  # the type that was given at upload, or by the program
DOWNLOAD: Final = {
    (200, _ANY_TYPE): OpenApiResponse(bytes, description="the whole content"),
    (206, _ANY_TYPE): OpenApiResponse(bytes, description="the range"),
    304: OpenApiResponse(description="If-None-Match names these bytes"),
    307: OpenApiResponse(description="at the object store, by signed URL"),
}


class ArtifactOut(Out):
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="a relative path")
    bytes = serializers.IntegerField(source="blob.bytes")
    sha256 = serializers.CharField(source="blob_id")
    media_type = serializers.CharField()
    created_at = serializers.DateTimeField()
    regions = serializers.SerializerMethodField(help_text="whose stores hold it")

    def get_regions(self, artifact: Artifact) -> list[str]:
        return sorted(place.region.code for place in artifact.blob.places.all())


class CachesOut(Out):
    region = serializers.CharField()
    pools = serializers.IntegerField(help_text="whose agents say that they have it")


class ReplicaOut(Out):
    region = serializers.CharField(source="region.code")
    state = serializers.ChoiceField(Replica.State.choices)
    bytes = serializers.IntegerField()
    detail = serializers.CharField(help_text="why it waits or failed")
    asked_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="then it goes, unless the artifact is pinned")


class ArtifactWhereOut(ArtifactOut):
    caches = CachesOut(many=True)
    replicas = ReplicaOut(many=True)
    pinned_until = serializers.DateTimeField(allow_null=True)


class ReplicateIn(In):
    regions = serializers.ListField(
        child=serializers.CharField(max_length=32), min_length=1, max_length=replicas.MOST_REGIONS, help_text="their codes"
    )


class PinIn(In):
    until = serializers.DateTimeField()


class UploadIn(In):
    name = serializers.CharField(
        max_length=255, trim_whitespace=False, help_text="a relative path, for example scene/car.obj"
    )
    sha256 = serializers.RegexField(r"^[0-9a-f]{64}$", help_text="of the whole content, lower-case hex")
    bytes = serializers.IntegerField(min_value=0, max_value=MAX_INT64)
    media_type = serializers.RegexField(MEDIA_TYPE, default="application/octet-stream")


class UploadOut(Out):
    id = serializers.UUIDField(allow_null=True, help_text="null when nothing needs to be sent")
    offset = serializers.IntegerField(help_text="bytes that have arrived")
    bytes = serializers.IntegerField()
    artifact = serializers.UUIDField(allow_null=True, help_text="set when all bytes are there")


class RawParser(BaseParser):
    """Leaves the body where it is: the service reads it in pieces."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class BytesRenderer(BaseRenderer):
    """Names the media type of downloads; the bytes come from a stream."""

    media_type = "application/octet-stream"
    format = "bytes"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        return data


class AnyAccept(BaseContentNegotiation):
    """A download is what it is, whatever the caller accepts; errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class UploadsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ARTIFACTS_WRITE}

    @extend_schema(operation_id="uploads_create", request=UploadIn, responses={200: UploadOut, 201: UploadOut})
    def post(self, request: Request) -> Response:
        """Announce a file.

        201: send its bytes; 200: the organization has them already, here is the artifact.
        """
        caller = caller_of(request)
        given = valid(UploadIn(data=request.data))
        size = given.pop("bytes")
        begun = artifacts.begin_upload(caller.acting_for(), caller.user, size=size, **given)
        if isinstance(begun, Artifact):
            answer = {"id": None, "offset": size, "bytes": size, "artifact": begun.pk}
            return Response(UploadOut(answer).data)
        return Response(_upload_out(begun), status=201)


class UploadView(APIView):
    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_WRITE, "PATCH": ARTIFACTS_WRITE}
    parser_classes = (RawParser,)

    @extend_schema(operation_id="uploads_retrieve", responses=UploadOut)
    def get(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """How far an upload has come."""
        return Response(_upload_out(_own_upload(request, id)))

    @extend_schema(
        operation_id="uploads_append",
        parameters=[OFFSET],
        request={"application/octet-stream": bytes},
        responses=UploadOut,
    )
    def patch(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """Send the next bytes. After a cut connection, ask for the offset and go on from there."""
        upload = _own_upload(request, id)
        upload = artifacts.append_to_upload(upload, _offset_of(request), _body_of(request))
        return Response(_upload_out(upload))


class ArtifactsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_READ}
    serializer_class = ArtifactOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return artifacts_of(caller).prefetch_related("blob__places__region")


class ArtifactView(APIView):
    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_READ, "DELETE": ARTIFACTS_WRITE}

    @extend_schema(operation_id="artifacts_retrieve", responses=ArtifactWhereOut)
    def get(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """An artifact of the caller's organization, and where its bytes are: stores, caches, copies."""
        return Response(_where_out(_own_artifact(request, id)))

    @extend_schema(operation_id="artifacts_destroy", responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """Delete it. Tasks that use it keep its bytes until they end."""
        artifact = _own_artifact(request, id)
        artifacts.delete_artifact(artifact.organization, artifact.pk)
        return Response(status=204)


class ReplicateView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ARTIFACTS_WRITE}

    @extend_schema(operation_id="artifacts_replicate", request=ReplicateIn, responses={202: ArtifactWhereOut})
    def post(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """Ask that copies be kept in these regions. Asking again renews their time, and tries again what had failed."""
        artifact, given = _own_artifact(request, id), valid(ReplicateIn(data=request.data))
        replicas.replicate(artifact, caller_of(request).user, given["regions"])
        return Response(_where_out(artifact), status=202)


class ReplicaView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": ARTIFACTS_WRITE}

    @extend_schema(operation_id="artifacts_replica_destroy", parameters=[REGION], responses={204: None})
    def delete(self, request: Request, id: UUID, region: str) -> Response:  # noqa: A002
        """The copy in this region is no longer wished for."""
        replicas.drop_replica(_own_artifact(request, id), region)
        return Response(status=204)


class PinView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ARTIFACTS_WRITE, "DELETE": ARTIFACTS_WRITE}

    @extend_schema(operation_id="artifacts_pin", request=PinIn, responses=ArtifactWhereOut)
    def post(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """Keep it where it is held or cached, until a moment; pinning again moves it."""
        artifact, given = _own_artifact(request, id), valid(PinIn(data=request.data))
        replicas.pin(artifact, caller_of(request).user, given["until"])
        return Response(_where_out(artifact))

    @extend_schema(operation_id="artifacts_unpin", responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """Let it be evicted again."""
        replicas.unpin(_own_artifact(request, id))
        return Response(status=204)


class ArtifactContentView(APIView):
    scopes: ClassVar[Scopes] = {"GET": ARTIFACTS_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="artifacts_content",
        parameters=[RANGE],
        responses=DOWNLOAD,
    )
    def get(self, request: Request, id: UUID) -> HttpResponseBase:  # noqa: A002
        """The bytes; `Range`, `If-Range` and `If-None-Match` are honoured."""
        artifact = _own_artifact(request, id)
        return storage.range_response(
            request._request,
            artifact.blob_id,
            artifact.blob.bytes,
            filename=artifact.name,
            media_type=artifact.media_type,
        )


def _own_artifact(request: Request, artifact_id: UUID) -> Artifact:
    artifact = artifacts_of(caller_of(request)).prefetch_related("blob__places__region").filter(pk=artifact_id).first()
    if artifact is None:
        raise NotFound("artifact_unknown", "no such artifact")
    return artifact


def _where_out(artifact: Artifact) -> Any:
    (where,) = whereabouts([artifact])
    caches = [{"region": region, "pools": pools} for region, pools in where.caches.items()]
    more = {"caches": CachesOut(caches, many=True).data, "replicas": ReplicaOut(where.replicas, many=True).data}
    pinned = serializers.DateTimeField().to_representation(where.pinned_until) if where.pinned_until else None
    return {**ArtifactOut(artifact).data, **more, "pinned_until": pinned}


def _own_upload(request: Request, upload_id: UUID) -> Upload:
    upload = owned(Upload.objects.all(), caller_of(request)).filter(pk=upload_id).first()
    if upload is None:
        raise NotFound("upload_unknown", "no such upload")
    return upload


def _upload_out(upload: Upload) -> Any:
    offset = artifacts.upload_offset(upload)
    answer = {"id": upload.pk, "offset": offset, "bytes": upload.bytes, "artifact": upload.artifact_id}
    return UploadOut(answer).data


def _offset_of(request: Request) -> int:
    text = request.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid("invalid_offset", "Upload-Offset must be a whole number", field="Upload-Offset")
    return int(text)


def _body_of(request: Request) -> Readable:
    """The request's body as a stream; never read as a whole into memory."""
    return request._request


urlpatterns = [
    path("uploads", UploadsView.as_view()),
    path("uploads/<uuid:id>", UploadView.as_view()),
    path("artifacts", ArtifactsView.as_view()),
    path("artifacts/<uuid:id>", ArtifactView.as_view()),
    path("artifacts/<uuid:id>/replicate", ReplicateView.as_view()),
    path("artifacts/<uuid:id>/replicas/<str:region>", ReplicaView.as_view()),
    path("artifacts/<uuid:id>/pin", PinView.as_view()),
    path("artifacts/<uuid:id>/content", ArtifactContentView.as_view()),
]

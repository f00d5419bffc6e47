"""The index in the operators' pages: what was defined, observed, weighed and computed. All of it is only read here."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import Page, exact, one_of
from index.models import (
    Expert,
    IndexDefinition,
    IndexMap,
    IndexPreview,
    IndexRun,
    Judgement,
    Observation,
    ObservationBatch,
    Panel,
    PreviewChange,
    TaskRating,
    WeightSet,
)


@admin.register(IndexDefinition)
class IndexDefinitionPage(Page):
    columns = ("id", "code", "version", "name_en", "name_zh", "state", "published_at", "digest")
    list_filter = (one_of("state", IndexDefinition.State.values), exact("code"))
    search_fields = ("=code",)


@admin.register(ObservationBatch)
class ObservationBatchPage(Page):
    columns = ("id", "name", "profile", "origin", "state", "rows", "created_by", "created_at", "committed_at", "reason")
    joins = ("created_by",)
    list_filter = (one_of("state", ObservationBatch.State.values), "profile", "origin")
    search_fields = ("=pk", "name")


@admin.register(Observation)
class ObservationPage(Page):
    columns = ("id", "variable", "region", "period", "value", "unit", "vintage", "batch", "row")
    joins = ("batch",)
    list_filter = (exact("batch"), exact("region"), exact("period"))
    search_fields = ("=pk", "=variable")
    huge = True


@admin.register(WeightSet)
class WeightSetPage(Page):
    columns = ("id", "definition", "name", "kind", "recorded_by", "recorded_at", "digest")
    joins = ("definition", "recorded_by")
    list_filter = (one_of("kind", WeightSet.Kind.values), exact("definition"))
    search_fields = ("=pk", "=name")


@admin.register(IndexRun)
class IndexRunPage(Page):
    columns = ("id", "definition", "profile", "period", "weights", "edition", "synthetic", "created_at", "digest", "page")
    joins = ("definition", "weights")
    list_filter = (exact("definition"), "profile", "synthetic")
    search_fields = ("=pk", "=digest")

    @admin.display(description="page")
    def page(self, obj: IndexRun) -> SafeString:
        return format_html('<a href="{}?run={}">ranks</a>', reverse("console:index"), obj.pk)


@admin.register(TaskRating)
class TaskRatingPage(Page):
    columns = ("task", "organization", "stars", "comment", "rated_by", "rated_at")
    joins = ("task", "organization", "rated_by")
    list_filter = (exact("organization__slug", "organization"), "stars")
    search_fields = ("=task__id",)


@admin.register(Panel)
class PanelPage(Page):
    columns = ("id", "definition", "name", "random_index", "rule", "state", "weights", "created_by", "created_at")
    joins = ("definition", "weights", "created_by")
    list_filter = (one_of("state", Panel.State.values), exact("definition"))
    search_fields = ("=pk", "=name")


@admin.register(Expert)
class ExpertPage(Page):
    columns = ("id", "panel", "name", "voice")
    joins = ("panel",)
    list_filter = (exact("panel"),)
    search_fields = ("=pk", "=name")


@admin.register(Judgement)
class JudgementPage(Page):
    columns = ("id", "expert", "parent", "one", "other", "value", "judged_at")
    joins = ("expert",)
    list_filter = (exact("expert"), exact("parent"))
    search_fields = ("=pk",)


@admin.register(IndexPreview)
class IndexPreviewPage(Page):
    columns = ("id", "definition", "period", "weights", "base", "counted_at", "took_ms")
    joins = ("definition", "weights", "base")
    heavy = ("document", "scores", "posts", "marks")
    list_filter = (exact("definition"), exact("period"))
    search_fields = ("=pk",)


@admin.register(PreviewChange)
class PreviewChangePage(Page):
    columns = ("id", "preview", "region", "leaf", "node", "points", "cause", "sentence")
    joins = ("preview",)
    list_filter = (one_of("cause", PreviewChange.Cause.values), exact("preview"), exact("region"), exact("leaf"))
    search_fields = ("=pk",)
    huge = True


@admin.register(IndexMap)
class IndexMapPage(Page):
    columns = (
        "id",
        "name",
        "approval_number",
        "publisher",
        "licence",
        "uploaded_by",
        "uploaded_at",
        "withdrawn_at",
        "reason",
        "digest",
    )
    joins = ("uploaded_by",)
    heavy = hidden = ("content",)
    list_filter = (exact("digest"),)
    search_fields = ("=pk", "=digest", "name")

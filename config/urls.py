"""The whole URL map on one screen."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from config import views
from core.schema import OnceGenerator

urlpatterns = [
    path("admin/login/", RedirectView.as_view(pattern_name="console:login", query_string=True)),  # one log-in, one brake
    path("admin/", admin.site.urls),
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("metrics", views.metrics),
    path("api/v1/openapi.json", SpectacularJSONAPIView.as_view(generator_class=OnceGenerator), name="openapi"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="openapi"), name="docs"),
    path("api/v1/", include("marketplace.api.accounts")),
    path("api/v1/", include("marketplace.api.providers")),
    path("api/v1/", include("marketplace.api.availability")),
    path("api/v1/", include("marketplace.api.contracts")),
    path("api/v1/", include("marketplace.api.capabilities")),
    path("api/v1/", include("marketplace.api.artifacts")),
    path("api/v1/", include("marketplace.api.webhooks")),
    path("api/v1/", include("scheduler.api.publishing")),
    path("api/v1/", include("scheduler.api.tasks")),
    path("api/v1/", include("scheduler.api.market")),
    path("api/v1/", include("scheduler.api.network")),
    path("api/v1/", include("scheduler.api.trust")),
    path("api/v1/", include("metering.api")),
    path("api/v1/", include("billing.api")),
    path("api/v1/", include("billing.periods.api")),
    path("api/v1/", include("billing.periods.subscription_api")),
    path("api/v1/", include("billing.invoices.api")),
    path("api/v1/", include("billing.invoices.payments_api")),
    path("api/v1/", include("billing.invoices.freed_api")),
    path("api/v1/", include("billing.credit.payment_api")),
    path("api/v1/", include("billing.invoices.tax_api")),
    path("api/v1/", include("billing.sla.api")),
    path("api/v1/", include("billing.settlement.api")),
    path("api/v1/", include("billing.settlement.reserve_api")),
    path("api/v1/", include("billing.disputes.api")),
    path("api/v1/", include("billing.ledger.api")),
    path("api/v1/", include("billing.credit.api")),
    path("api/v1/", include("billing.credit.budget_api")),
    path("api/v1/", include("billing.credit.wallet_api")),
    path("api/v1/", include("billing.exports.api")),
    path("api/v1/", include("billing.exports.files_api")),
    path("api/v1/", include("index.api")),
    path("api/v1/", include("index.observed_api")),
    path("api/v1/", include("index.exports_api")),
    path("api/v1/", include("index.panel_api")),
    path("api/v1/", include("index.claims_api")),
    path("api/v1/", include("index.quality_api")),
    path("api/v1/", include("index.beside_api")),
    path("api/v1/", include("index.whatif_api")),
    path("api/v1/", include("index.definitions_api")),
    path("api/v1/", include("index.comparing_api")),
    path("api/v1/", include("index.preview_api")),
    path("api/v1/", include("index.maps_api")),
    path("agent/v1/", include("scheduler.api.agents")),
    path("", include("console.urls")),
    path("", views.home, name="home"),
]
handler400 = "core.http.bad_request"
handler404 = "core.http.not_found"
handler500 = "core.http.server_error"

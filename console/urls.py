"""The pages, on one screen."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from console.accounts import ChooseOrganization, Keys, LogIn, RevokeKey
from console.bills import Bill
from console.market import JoinToken, Market, Pools
from console.network import Network
from console.submitting import CapabilityList, OneCapability
from console.tasks import CancelTask, OneTask, TaskList

app_name = "console"
urlpatterns = [
    path("login/", LogIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="/"), name="logout"),
    path("organization/", ChooseOrganization.as_view(), name="organization"),
    path("tasks/", TaskList.as_view(), name="tasks"),
    path("tasks/<uuid:task_id>/", OneTask.as_view(), name="task"),
    path("tasks/<uuid:task_id>/cancel/", CancelTask.as_view(), name="cancel"),
    path("capabilities/", CapabilityList.as_view(), name="capabilities"),
    path("capabilities/<capability_slug:org>/<capability_slug:name>/", OneCapability.as_view(), name="capability"),
    path("market/", Market.as_view(), name="market"),
    path("network/", Network.as_view(), name="network"),
    path("pools/", Pools.as_view(), name="pools"),
    path("pools/<pool:identifier>/join-token/", JoinToken.as_view(), name="join-token"),
    path("bill/", Bill.as_view(), name="bill"),
    path("keys/", Keys.as_view(), name="keys"),
    path("keys/<key:prefix>/revoke/", RevokeKey.as_view(), name="revoke-key"),
]

"""The pages, on one screen."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from console.accounts import ChooseOrganization, Keys, LogIn, RevokeKey
from console.artifacts import ArtifactList, DropCopy, OneArtifact, PinIt, Replicate, Unpin
from console.bills import Bill
from console.charges import ChargeList, OneCharge, OnePeriodCharge
from console.credit import CreditPage
from console.disputes import Answer, Decide, DisputeList, OneDispute, OpenDispute, OpenPeriodDispute, Say, Withdraw
from console.exports import ExportList
from console.index.claims import IndexClaims
from console.index.comparing import IndexCompare
from console.index.data import IndexBatch, IndexBatchCommit, IndexBatchDrop, IndexBatchRollBack, IndexCount, IndexData
from console.index.definitions import IndexDefinitionDifference, IndexDefinitionPage, IndexDefinitionPublish, IndexDefinitions
from console.index.editions import IndexEditions, IndexPublish
from console.index.figures import IndexFigures
from console.index.history import IndexHistory
from console.index.maps import IndexMapPage, IndexMaps, IndexMapSvg, IndexMapWithdraw
from console.index.pages import (
    IndexHome,
    IndexIndicator,
    IndexMethod,
    IndexObservation,
    IndexProvince,
)
from console.index.panels import JudgePage, NewPanel, OnePanel
from console.index.preview import ObservationCharges, Preview, PreviewChangePage
from console.index.quality import IndexQuality
from console.index.relation import IndexRelationship
from console.index.report import IndexReport, IndexReportPdf
from console.index.robust import IndexRobustness
from console.index.weights import ImportWeights, IndexWeights, IndexWeightSet
from console.index.whatif import IndexWhatIf
from console.invoices import InvoiceList, OneInvoice, OneLine
from console.levels import ServiceLevels
from console.market import JoinToken, Market, Pools
from console.network import Network
from console.payables import OnePayout, Payables, PayoutList
from console.payments import PaymentList
from console.profile import BillingProfile
from console.submitting import CapabilityList, OneCapability
from console.tasks import CancelTask, OneTask, TaskList
from console.usage import UsagePage

app_name = "console"
urlpatterns = [
    path("login/", LogIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="/"), name="logout"),
    path("organization/", ChooseOrganization.as_view(), name="organization"),
    path("tasks/", TaskList.as_view(), name="tasks"),
    path("tasks/<uuid:task_id>/", OneTask.as_view(), name="task"),
    path("tasks/<uuid:task_id>/cancel/", CancelTask.as_view(), name="cancel"),
    path("artifacts/", ArtifactList.as_view(), name="artifacts"),
    path("artifacts/<uuid:artifact_id>/", OneArtifact.as_view(), name="artifact"),
    path("artifacts/<uuid:artifact_id>/replicate/", Replicate.as_view(), name="replicate"),
    path("artifacts/<uuid:artifact_id>/replicas/<str:region>/drop/", DropCopy.as_view(), name="drop-copy"),
    path("artifacts/<uuid:artifact_id>/pin/", PinIt.as_view(), name="pin"),
    path("artifacts/<uuid:artifact_id>/unpin/", Unpin.as_view(), name="unpin"),
    path("capabilities/", CapabilityList.as_view(), name="capabilities"),
    path("capabilities/<capability_slug:org>/<capability_slug:name>/", OneCapability.as_view(), name="capability"),
    path("market/", Market.as_view(), name="market"),
    path("network/", Network.as_view(), name="network"),
    path("pools/", Pools.as_view(), name="pools"),
    path("pools/<pool:identifier>/join-token/", JoinToken.as_view(), name="join-token"),
    path("bill/", Bill.as_view(), name="bill"),
    path("invoices/", InvoiceList.as_view(), name="invoices"),
    path("invoices/<int:invoice>/", OneInvoice.as_view(), name="invoice"),
    path("invoices/<int:invoice>/lines/<int:line>/", OneLine.as_view(), name="invoice-line"),
    path("payments/", PaymentList.as_view(), name="payments"),
    path("service-levels/", ServiceLevels.as_view(), name="service-levels"),
    path("billing-profile/", BillingProfile.as_view(), name="billing-profile"),
    path("charges/", ChargeList.as_view(), name="charges"),
    path("charges/<int:number>/", OneCharge.as_view(), name="charge"),
    path("charges/<int:number>/dispute/", OpenDispute.as_view(), name="open-dispute"),
    path("disputes/", DisputeList.as_view(), name="disputes"),
    path("disputes/<int:dispute>/", OneDispute.as_view(), name="dispute"),
    path("disputes/<int:dispute>/answer/", Answer.as_view(), name="answer-dispute"),
    path("disputes/<int:dispute>/decide/", Decide.as_view(), name="decide-dispute"),
    path("disputes/<int:dispute>/say/", Say.as_view(), name="say-in-dispute"),
    path("disputes/<int:dispute>/withdraw/", Withdraw.as_view(), name="withdraw-dispute"),
    path("exports/", ExportList.as_view(), name="exports"),
    path("period-charges/<int:number>/dispute/", OpenPeriodDispute.as_view(), name="open-period-dispute"),
    path("period-charges/<int:number>/", OnePeriodCharge.as_view(), name="period-charge"),
    path("usage/", UsagePage.as_view(), name="usage"),
    path("payables/", Payables.as_view(), name="payables"),
    path("payouts/", PayoutList.as_view(), name="payouts"),
    path("payouts/<int:payout>/", OnePayout.as_view(), name="payout"),
    path("credit/", CreditPage.as_view(), name="credit"),
    path("index/", IndexHome.as_view(), name="index"),
    path("index/provinces/<str:province>/", IndexProvince.as_view(), name="index-province"),
    path("index/indicators/<str:indicator>/", IndexIndicator.as_view(), name="index-indicator"),
    path("index/observations/<int:observation>/", IndexObservation.as_view(), name="index-observation"),
    path("index/compare/", IndexCompare.as_view(), name="index-compare"),
    path("index/history/", IndexHistory.as_view(), name="index-history"),
    path("index/observations/<int:counted>/charges/", ObservationCharges.as_view(), name="index-observation-charges"),
    path("index/preview/", Preview.as_view(), name="index-preview"),
    path("index/preview/changes/<int:change>/", PreviewChangePage.as_view(), name="index-preview-change"),
    path("index/editions/", IndexEditions.as_view(), name="index-editions"),
    path("index/runs/<int:run>/publish/", IndexPublish.as_view(), name="index-publish"),
    path("index/map/", IndexMapPage.as_view(), name="index-map"),
    path("index/map.svg", IndexMapSvg.as_view(), name="index-map-svg"),
    path("index/maps/", IndexMaps.as_view(), name="index-maps"),
    path("index/maps/<int:borders>/withdraw/", IndexMapWithdraw.as_view(), name="index-map-withdraw"),
    path("index/method/", IndexMethod.as_view(), name="index-method"),
    path("index/relationship/", IndexRelationship.as_view(), name="index-relationship"),
    path("index/figures/", IndexFigures.as_view(), name="index-figures"),
    path("index/what-if/", IndexWhatIf.as_view(), name="index-what-if"),
    path("index/report/", IndexReport.as_view(), name="index-report"),
    path("index/report.pdf", IndexReportPdf.as_view(), name="index-report-pdf"),
    path("index/quality/", IndexQuality.as_view(), name="index-quality"),
    path("index/definitions/", IndexDefinitions.as_view(), name="index-definitions"),
    path("index/definitions/<str:definition>/", IndexDefinitionPage.as_view(), name="index-definition"),
    path("index/definitions/<str:definition>/publish/", IndexDefinitionPublish.as_view(), name="index-definition-publish"),
    path("index/definition-diff/", IndexDefinitionDifference.as_view(), name="index-definition-diff"),
    path("index/robustness/", IndexRobustness.as_view(), name="index-robustness"),
    path("index/claims/", IndexClaims.as_view(), name="index-claims"),
    path("index/weights/", IndexWeights.as_view(), name="index-weights"),
    path("index/weights/import/", ImportWeights.as_view(), name="index-weights-import"),
    path("index/weights/<int:weights>/", IndexWeightSet.as_view(), name="index-weight-set"),
    path("index/panels/new/", NewPanel.as_view(), name="index-panel-new"),
    path("index/panels/<int:panel>/", OnePanel.as_view(), name="index-panel"),
    path("index/panels/<int:panel>/experts/<int:expert>/", JudgePage.as_view(), name="index-judge"),
    path("index/data/", IndexData.as_view(), name="index-data"),
    path("index/data/count/", IndexCount.as_view(), name="index-count"),
    path("index/data/<int:batch>/", IndexBatch.as_view(), name="index-batch"),
    path("index/data/<int:batch>/commit/", IndexBatchCommit.as_view(), name="index-batch-commit"),
    path("index/data/<int:batch>/drop/", IndexBatchDrop.as_view(), name="index-batch-drop"),
    path("index/data/<int:batch>/roll-back/", IndexBatchRollBack.as_view(), name="index-batch-roll-back"),
    path("keys/", Keys.as_view(), name="keys"),
    path("keys/<key:prefix>/revoke/", RevokeKey.as_view(), name="revoke-key"),
]

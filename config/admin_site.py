"""The operators' sidebar: the models in the order of the business, not of the apps."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite

# A group of the navigation: its name, then title, model and icon of each of its pages.
GROUPS: Final = (
    (
        "Work",
        (
            ("Tasks", "marketplace_task", "task_alt"),
            ("Units", "scheduler_unit", "grid_on"),
            ("Attempts", "scheduler_attempt", "play_circle"),
            ("Results", "marketplace_result", "inventory_2"),
        ),
    ),
    (
        "Money",
        (
            ("Usage records", "metering_usagerecord", "speed"),
            ("Usage events", "metering_usageevent", "sensors"),
            ("Corrections of events", "metering_usagecorrection", "category"),
            ("Reconciliations", "metering_reconciliation", "balance"),
            ("Runs of reconciliations", "metering_reconciliationrun", "category"),
            ("Rows of reconciliations", "metering_reconciliationrow", "category"),
            ("Providers' counters", "metering_reportedcounter", "category"),
            ("Usage series", "metering_usageseries", "timeline"),
            ("Usage batches", "metering_usagebatch", "move_to_inbox"),
            ("Quarantined events", "metering_quarantinedevent", "gpp_maybe"),
            ("Usage by hour", "metering_usagehour", "schedule"),
            ("Usage by day", "metering_usageday", "calendar_today"),
            ("Usage subjects", "metering_usagesubject", "category"),
            ("Dirty hours", "metering_usagedirty", "cleaning_services"),
            ("Charges", "billing_charge", "receipt"),
            ("Contracts", "marketplace_contract", "handshake"),
            ("Charges by period", "billing_periodcharge", "date_range"),
            ("Parked amounts", "billing_parkedperiod", "local_parking"),
            ("Previews of months", "billing_periodpreview", "preview"),
            ("Months rated", "billing_ratedmonth", "event_available"),
            ("Credit", "marketplace_allowance", "credit_score"),
            ("Holds", "marketplace_hold", "lock_clock"),
            ("Blocks", "marketplace_spendblock", "block"),
            ("Budgets", "marketplace_budget", "savings"),
            ("Budgets' alerts", "marketplace_budgetalert", "campaign"),
            ("Paused tasks", "marketplace_taskpause", "pause_circle"),
            ("Alarms of credit", "marketplace_creditalarm", "notification_important"),
            ("Journal", "billing_journalentry", "menu_book"),
            ("Legs", "billing_leg", "balance"),
            ("Accounts", "billing_account", "account_balance"),
            ("Seals", "billing_ledgerseal", "verified"),
            ("Sealed entries", "billing_sealedentry", "lock"),
            ("Balances", "billing_accountbalance", "functions"),
            ("Alarms of the ledger", "billing_ledgeralarm", "notification_important"),
        ),
    ),
    (
        "Index",
        (
            ("Runs of the index", "index_indexrun", "leaderboard"),
            ("Definitions", "index_indexdefinition", "account_tree"),
            ("Weights", "index_weightset", "scale"),
            ("Panels", "index_panel", "groups"),
            ("Experts", "index_expert", "person"),
            ("Judgements", "index_judgement", "balance"),
            ("Observations", "index_observation", "dataset"),
            ("Batches of observations", "index_observationbatch", "upload_file"),
            ("Maps of borders", "index_indexmap", "map"),
            ("Ratings", "index_taskrating", "star"),
            ("Previews", "index_indexpreview", "visibility"),
            ("Changes of previews", "index_previewchange", "trending_up"),
        ),
    ),
    (
        "Invoices",
        (
            ("Invoices", "billing_invoice", "request_quote"),
            ("Months", "billing_billingperiod", "calendar_month"),
            ("Freed months", "billing_freedperiod", "lock_open"),
            ("Lines", "billing_invoiceline", "list"),
            ("Charges of lines", "billing_invoicedcharge", "link"),
            ("Months of lines", "billing_invoicedperiod", "add_link"),
            ("Taxes on invoices", "billing_invoicetax", "percent"),
            ("Credit notes", "billing_creditnote", "undo"),
            ("Their lines", "billing_creditnoteline", "list"),
            ("Payments", "billing_payment", "payments"),
            ("What they paid", "billing_paymentallocation", "task_alt"),
            ("Reversed payments", "billing_paymentreversal", "money_off"),
            ("What they had paid", "billing_reversedallocation", "remove_done"),
            ("Grants", "billing_grant", "redeem"),
            ("What was taken of them", "billing_grantmove", "remove_circle_outline"),
            ("Bank statements", "billing_bankstatement", "upload_file"),
            ("Banks' lines", "billing_bankline", "inbox"),
            ("Gateways' payments", "billing_gatewaypayment", "credit_card"),
            ("Notices", "billing_dunningnotice", "campaign"),
            ("Numbers", "billing_series", "tag"),
            ("Taxes", "billing_tax", "percent"),
            ("Rates of tax", "billing_taxrate", "percent"),
            ("Taxed organizations", "billing_taxassignment", "domain"),
        ),
    ),
    (
        "Payouts",
        (
            ("Payouts", "billing_payout", "outbound"),
            ("Payout runs", "billing_payoutrun", "playlist_add_check"),
            ("What they pay", "billing_payoutline", "link"),
            ("Attempts to send", "billing_payoutattempt", "send"),
            ("Terms of reserves", "billing_reserveterms", "gavel"),
            ("Kept back", "billing_withholding", "savings"),
            ("Released", "billing_reserverelease", "lock_open"),
            ("The sandbox's books", "billing_sandboxtransfer", "toys"),
            ("Disputes", "billing_dispute", "gavel"),
            ("Disputed charges", "billing_disputedcharge", "report"),
            ("What was said", "billing_disputemessage", "forum"),
            ("Service levels", "billing_slaterms", "verified"),
            ("Days measured", "billing_sladay", "today"),
            ("How they were kept", "billing_slameasurement", "rule"),
            ("What was given back", "billing_slacredit", "undo"),
            ("Exports", "billing_export", "download"),
        ),
    ),
    (
        "Providers",
        (
            ("Pools", "marketplace_pool", "dns"),
            ("Agents", "marketplace_agent", "smart_toy"),
            ("Offers", "marketplace_offer", "sell"),
            ("Rates", "marketplace_rate", "price_change"),
            ("Maintenance", "marketplace_maintenancewindow", "build"),
            ("Cached blobs", "marketplace_cachedblob", "cached"),
            ("Trust", "scheduler_trust", "handshake"),
            ("Pools' events", "scheduler_poolevent", "notifications"),
            ("Join tokens", "marketplace_jointoken", "vpn_key"),
            ("Regions", "marketplace_region", "map"),
        ),
    ),
    (
        "Network",
        (
            ("Nodes", "scheduler_networknode", "hub"),
            ("Links", "scheduler_networklink", "share"),
            ("Reservations", "scheduler_reservation", "event"),
            ("Probes", "scheduler_probe", "network_check"),
            ("Endpoints", "scheduler_regionendpoint", "settings_ethernet"),
        ),
    ),
    (
        "Parties",
        (
            ("Organizations", "marketplace_organization", "apartment"),
            ("Members", "marketplace_membership", "group"),
            ("Users", "marketplace_user", "person"),
            ("API keys", "marketplace_apikey", "key"),
        ),
    ),
    (
        "Webhooks",
        (
            ("Endpoints of webhooks", "marketplace_webhookendpoint", "webhook"),
            ("Deliveries", "marketplace_webhookdelivery", "send"),
            ("Events told", "marketplace_webhookevent", "campaign"),
            ("Delivery log", "marketplace_webhooktry", "list_alt"),
            ("Secrets", "marketplace_webhooksecret", "password"),
        ),
    ),
    (
        "Capabilities and files",
        (
            ("Capabilities", "marketplace_capability", "widgets"),
            ("Versions", "marketplace_capabilityversion", "new_releases"),
            ("Artifacts", "marketplace_artifact", "draft"),
            ("Uploads", "marketplace_upload", "upload"),
            ("Blobs", "marketplace_blob", "database"),
            ("Places of blobs", "marketplace_blobplace", "location_on"),
            ("Copies", "marketplace_replica", "content_copy"),
            ("Pins", "marketplace_pin", "keep"),
            ("Input files", "marketplace_taskartifact", "attach_file"),
            ("Outputs", "scheduler_output", "output"),
        ),
    ),
    (
        "Inside the river",
        (
            ("Events", "marketplace_taskevent", "timeline"),
            ("Matching rounds", "scheduler_round", "join_inner"),
            ("Scenes", "scheduler_keptscene", "landscape"),
            ("Decisions", "scheduler_decision", "alt_route"),
            ("Needs", "scheduler_need", "category"),
            ("Prices of full pools", "scheduler_marketprice", "price_change"),
            ("Pace", "scheduler_pace", "timer"),
            ("Predictions", "scheduler_prediction", "query_stats"),
            ("References between tasks", "marketplace_taskreference", "account_tree"),
            ("Report batches", "scheduler_reportbatch", "verified"),
            ("Checkpoints", "scheduler_checkpoint", "bookmark"),
            ("Log chunks", "scheduler_logchunk", "terminal"),
            ("To be judged", "scheduler_unjudged", "gavel"),
            ("Commitments", "scheduler_commitment", "lock"),
            ("Run again", "scheduler_recheck", "replay"),
            ("Not yet measured", "scheduler_ended", "hourglass_empty"),
            ("Costs so far", "billing_costsofar", "calculate"),
            ("Subjects of periods", "billing_periodsubject", "category"),
            ("Subscriptions", "billing_subscription", "category"),
            ("Periods in budgets", "billing_budgetedperiod", "category"),
            ("Operators' log", "admin_logentry", "history"),
        ),
    ),
)


class OperatorsSite(UnfoldAdminSite):
    """The admin. Every page's context holds the list of apps and models, which no page shows: it is made when it is asked for."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        made = super().get_app_list
        return made(request, app_label) if app_label else SimpleLazyObject(lambda: made(request))


DASHBOARDS: Final = {"Index": "console:index"}  # pages outside the admin that belong to a group


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's SIDEBAR navigation. The two groups that are needed daily are open, the others collapse."""
    now = {"title": "Now", "items": [{"title": "The river", "icon": "water", "link": reverse("admin:index")}]}
    return [now, *(_group(title, items, index) for index, (title, items) in enumerate(GROUPS))]


def _group(title: str, items: tuple[tuple[str, str, str], ...], index: int) -> dict[str, Any]:
    links = [{"title": name, "icon": icon, "link": _list_of(model)} for name, model, icon in items]
    if title in DASHBOARDS:
        links.insert(0, {"title": "Dashboards", "icon": "monitoring", "link": reverse(DASHBOARDS[title])})
    return {"title": title, "items": links, "collapsible": index > 1}


@cache
def _list_of(model: str) -> str:
    return reverse(f"admin:{model}_changelist")

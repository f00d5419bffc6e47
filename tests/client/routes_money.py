"""What the stand-in answers of usage, charges, credit and the ledger. Importing it adds the routes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.client.platform import POOL, Handler, Json, route

LINE = {"task": "0192f0c1-0000-7000-8000-000000000001", "capability": "gridfare/render@1.0.0", "units": 24}
LINES = [
    LINE | {"kind": "usage", "pool": POOL, "quantity": "240.5", "amount": "0.240500", "share": "0.216450"},
    LINE | {"kind": "fee", "pool": None, "quantity": "24", "amount": "0.048000", "share": "0.048000"},
]


@route("GET", "/statements")
def statement(handler: Handler, _: Json) -> Json:
    head = {"party": handler.query["party"], "organization": "acme", "currency": "CNY", "total": "0.288500"}
    lines = LINES
    if handler.query.get("group") == "month":
        money = {"amount": "0.1", "share": "0.1", "fp32_tflop": "7200", "fp32_tflops_hours": "2"}
        lines = [{"month": "2026-03", "organization": "acme", "pool": "a", "units": 1} | money]
    return head | {"from": handler.query.get("from"), "to": handler.query.get("to"), "lines": lines}


@route("GET", "/statements.csv")
def statement_csv(handler: Handler, _: Json) -> None:
    handler.send(b"task,amount\r\na,0.12\r\n")


@route("GET", "/ledger/proof")
def ledger_proof(handler: Handler, _: Json) -> Json:
    seal = {"number": 1, "first": 1, "last": 2, "entries": 2, "legs": 8, "balances": 4}
    return handler.page([seal | {"previous": "0" * 64, "root": "a" * 64, "hash": "b" * 64, "sealed_at": "2030-01-01T00:00:00Z"}])


@route("GET", "/ledger/proof/entries")
def ledger_entries(handler: Handler, _: Json) -> Json:
    entry = {"seal": 1, "position": 2, "entry": 7, "kind": "fee", "key": "fee/a", "memo": "", "task": None, "posted_us": 0}
    return handler.page([entry | {"digest": "c" * 64, "legs": [{"digest": "d" * 64}], "path": []}])


@route("GET", "/ledger/export")
def ledger_export(handler: Handler, _: Json) -> None:
    handler.send(handler.platform.ledgers[handler.query["format"]])


def an_export(handler: Handler, state: str, rows: int) -> Json:
    asked, file = handler.platform.answers["export"], handler.platform.ledgers["csv"]
    assert isinstance(asked, dict)
    found: Json = {"id": "e1", "organization": "acme", "kind": asked["kind"], "schema": f"{asked['kind']}/1", "state": state}
    found |= {"format": asked.get("format", "csv"), "party": asked.get("party", "user"), "rows": rows, "estimated": 1000}
    found |= {"sha256": hashlib.sha256(file).hexdigest() if state == "ready" else "", "bytes": len(file)}
    return found | {"reason": "number_too_large: no" if state == "failed" else "", "requested_at": "2026-03-01T00:00:00Z"}


@route("POST", "/exports")
def request_export(handler: Handler, _: Json) -> Any:
    handler.platform.answers["export"] = handler.json()
    return 202, an_export(handler, "requested", 0)


@route("GET", "/exports")
def list_exports(handler: Handler, _: Json) -> Json:
    return handler.page([an_export(handler, "ready", 2)])


@route("GET", "/exports/e1")
def look_at_export(handler: Handler, _: Json) -> Json:
    step = handler.platform.steps["e1"] = handler.platform.steps.get("e1", 0) + 1
    end = handler.platform.states[-1] if handler.platform.states else "ready"
    return an_export(handler, "running" if step < 3 else end, step * 100 if step < 3 else 2)


@route("GET", "/exports/e1/file")
def export_file(handler: Handler, _: Json) -> None:
    handler.send(handler.platform.ledgers["csv"])


@route("GET", "/exports/focus")
def focus_export(handler: Handler, _: Json) -> None:
    handler.send(handler.platform.ledgers[handler.query["format"]])


@route("POST", "/usage/events")
def take_usage(handler: Handler, _: Json) -> Json:
    seen, rows = handler.platform.usage_ids, []
    for index, event in enumerate(json.loads(handler.body)):
        status = "invalid" if event["id"] == "wrong" else "duplicate" if event["id"] in seen else "accepted"
        seen.add(event["id"])
        code = "negative" if status == "invalid" else ""
        rows.append({"index": index, "id": event["id"], "source": "a", "status": status, "code": code, "field": None, "detail": ""})
    counts = {status: sum(row["status"] == status for row in rows) for status in ("accepted", "duplicate", "invalid")}
    return {"batch": 1, "counts": counts, "rows": rows}


@route("GET", "/usage")
def read_usage(handler: Handler, _: Json) -> Json:
    row = {"project": "film", "unit": "hour", "fp32_tflop": "0", "facts": 1, "gaps": 0}
    if "after" in handler.query:
        return {"from": "a", "to": "b", "next": None, "rows": [row | {"meter": "wall", "quantity": "1"}]}
    return {"from": "a", "to": "b", "next": "more", "rows": [row | {"meter": "gpu_hour", "quantity": "2.5"}]}


@route("GET", "/usage.csv")
def usage_csv(handler: Handler, _: Json) -> None:
    handler.send(b"meter,quantity\r\nwall,1\r\n")


@route("GET", "/usage/days")
def usage_days(handler: Handler, _: Json) -> Json:
    day: Json = {"day": "2026-03-01", "pool": "640000-G-00001A-T", "stat": "sum", "meter": "gpu_hour", "unit": "hour"}
    day |= {"slots": [None, "9", "12.5"]}
    return {"next": None, "previous": None, "results": [day]}


KEPT = {"number": 7, "provider": "bob", "reason": "too_old", "state": "open", "document": {"id": "old"}, "decided_at": None,
        "occurred_at": "2026-01-01T00:00:00Z", "received_at": "2026-03-01T00:00:00Z"}  # fmt: skip


@route("GET", "/usage/quarantine")
def usage_quarantine(handler: Handler, _: Json) -> Json:
    return {"next": None, "previous": None, "results": [KEPT]}


@route("POST", "/usage/quarantine/(?P<number>[0-9]+)/(?P<verb>accept|refuse)")
def decide_usage(handler: Handler, variables: Json) -> Json:
    return KEPT | {"state": {"accept": "accepted", "refuse": "refused"}[variables["verb"]]}


MONTH = {"from": "2026-02-28T16:00:00Z", "to": "2026-03-31T16:00:00Z"}
HELD = {"pool": POOL, "meter": "held_cores", "billed": "4", "currency": "CNY", "total": "40.000000", "period": MONTH}
PROOF_LINE = {"kind": "usage", "meter": "core_second", "quantity": "4", "unit_price": "10", "amount": "40"}
PARKED = {"number": 5, "organization": "acme", "period": MONTH, "meter": "held_cores", "reason": "bound", "total": "9.000000",
          "state": "open"}  # fmt: skip
SIGNED = {"number": 1, "organization": "acme", "valid_from": "2026-01-01T00:00:00Z", "valid_to": None, "zone": "Europe/Berlin",
          "credit_limit": None}  # fmt: skip


@route("GET", "/period-charges")
def period_charges(handler: Handler, _: Json) -> Json:
    return handler.page([HELD | {"id": 7, "revision": 0, "amount": "40.000000"}])


@route("GET", "/period-previews")
def period_previews(handler: Handler, _: Json) -> Json:
    return handler.page([HELD | {"cutoff": "2026-03-09T00:00:00Z"}])


@route("GET", "/period-charges/(?P<number>[0-9]+)/evidence")
def period_evidence(handler: Handler, variables: Json) -> Json:
    facts = {"count": 2, "digest": "a" * 64, "digest_now": "a" * 64, "matches": True, "records": []}
    return HELD | {"charge": int(variables["number"]), "formula": "month_max: 4; billed 4", "facts": facts, "lines": [PROOF_LINE]}


@route("GET", "/charges/(?P<number>[0-9]+)/evidence")
def charge_evidence(handler: Handler, variables: Json) -> Json:
    row = {"work": "valid", "ending": "delivered", "payer": "user", "fee": True}
    rate = {"price": "0.002", "floor": "0.001", "ceiling": "0.02"}
    told = {"task": "a", "reason_row": row, "lines": [PROOF_LINE], "digest": "b" * 64}
    return told | {"charge": int(variables["number"]), "price": {"market": {"round": 46, "rates": {"core_second": rate}}}}


@route("GET", "/unbilled")
def read_unbilled(handler: Handler, _: Json) -> Json:
    row = {"reason": "task_open", "why": "its task is still open", "count": 2, "since": "2026-03-01T00:00:00Z", "amount": None}
    return {"unbilled": [row]}


@route("POST", "/what-if")
def what_if(handler: Handler, _: Json) -> Json:
    tried = [
        {"name": price.get("name", "a"), "price": price, "total": "9.000000", "difference": "-31.000000"}
        for price in json.loads(handler.body)["prices"]
    ]
    return {"actual": {"total": "40.000000"}, "candidates": tried}


SUBSCRIPTION = {"number": 4, "organization": "acme", "pool": POOL, "from": "2026-03-01T00:00:00Z"}


@route("POST", "/usage/corrections")
def correct_events(handler: Handler, _: Json) -> Json:
    [one] = json.loads(handler.body)["corrections"]
    status = "accepted" if "quantity" in one else "invalid"
    row = {"index": 0, "id": one["id"], "source": one["source"], "status": status, "code": "", "field": None, "detail": "no gauge"}
    return {"counts": {status: 1}, "rows": [row]}


COUNTS = {"matched": 1, "within": 0, "off": 1, "missing_here": 0, "missing_there": 0}
RECONCILED = {
    "number": 6, "provider": "bobs", "name": "June", "relative": "0.01", "absolute": "0", "created_at": "2026-07-01T00:00:00Z",
    "runs": [{"run": 1, "cutoff": "2026-07-01T00:00:00Z", "counts": COUNTS}],
}  # fmt: skip


@route("POST", "/usage/reconciliations")
def begin_reconciliation(handler: Handler, _: Json) -> Json:
    return RECONCILED | {"name": handler.query.get("name", "")}


@route("GET", "/usage/reconciliations")
def list_reconciliations(handler: Handler, _: Json) -> Json:
    return handler.page([RECONCILED])


@route("GET", "/usage/reconciliations/(?P<number>[0-9]+)")
def read_reconciliation(handler: Handler, _: Json) -> Json:
    return RECONCILED


@route("GET", "/usage/reconciliations/(?P<number>[0-9]+)/rows")
def reconciliation_rows(handler: Handler, _: Json) -> Json:
    row = {"run": 1, "pool": POOL, "customer": None, "meter": "gpu_hour", "unit": "hour", "from": "2026-06-01T00:00:00Z",
           "to": "2026-07-01T00:00:00Z", "theirs": "10", "ours": "12", "difference": "-2", "facts": 3}  # fmt: skip
    rows = [row | {"status": status} for status in ("off", "matched")]
    return handler.page([one for one in rows if handler.query.get("status") in {None, one["status"]}])


@route("POST", "/usage/reconciliations/(?P<number>[0-9]+)/runs")
def reconcile_again(handler: Handler, _: Json) -> Json:
    return {"run": 2, "cutoff": "2026-07-02T00:00:00Z", "counts": COUNTS}


@route("GET", "/subscriptions")
def subscriptions(handler: Handler, _: Json) -> Json:
    return handler.page([SUBSCRIPTION | {"to": None}])


@route("POST", "/subscriptions")
def begin_subscription(handler: Handler, _: Json) -> Json:
    return SUBSCRIPTION | {"to": None, "pool": json.loads(handler.body)["pool"]}


@route("DELETE", "/subscriptions/(?P<number>[0-9]+)")
def end_subscription(handler: Handler, variables: Json) -> Json:
    return SUBSCRIPTION | {"to": "2026-04-01T00:00:00Z"}


@route("POST", "/period-runs")
def run_period(handler: Handler, _: Json) -> Json:
    return {"charges": 1, "parked": 0}


@route("GET", "/parked")
def read_parked(handler: Handler, _: Json) -> Json:
    return handler.page([PARKED])


@route("POST", "/parked/(?P<number>[0-9]+)/(?P<verb>approve|refuse)")
def decide_parked(handler: Handler, variables: Json) -> Json:
    return PARKED | {"state": {"approve": "approved", "refuse": "refused"}[variables["verb"]]}


@route("POST", "/usage/records/(?P<number>[0-9]+)/corrections")
def correct_record(handler: Handler, variables: Json) -> Json:
    return {"usage": 10, "attempt": 3, "revision": 1, "corrects": int(variables["number"])}


@route("GET", "/contracts")
def read_contracts(handler: Handler, _: Json) -> Json:
    return handler.page([SIGNED])


@route("POST", "/contracts")
def sign_one(handler: Handler, _: Json) -> Json:
    return SIGNED | json.loads(handler.body)


@route("GET", "/credit")
def read_credit(handler: Handler, _: Json) -> Json:
    sums = {"limit": "10000.000000", "prepaid": "0.000000", "unpaid": "12.500000", "held": "2.000000", "available": "9985.500000"}
    block = {"reason": "dunning", "detail": "invoice 7", "blocked_at": "2026-03-01T00:00:00Z"}
    return {"organization": "acme", "allowances": [{"currency": "CNY"} | sums], "blocks": [block]}


@route("GET", "/credit/holds")
def credit_holds(handler: Handler, _: Json) -> Json:
    hold = {"task": "0" * 8, "currency": "CNY", "amount": "2.000000", "captured": "0.000000", "by": "estimate",
            "state": handler.query.get("state", "held"), "held_at": "2026-03-01T00:00:00Z", "resolved_at": None}  # fmt: skip
    return {"next": None, "previous": None, "results": [hold]}


@route("GET", "/credit/movements")
def credit_movements(handler: Handler, _: Json) -> Json:
    moved = {"number": 4, "at": "2026-04-01T00:00:00Z", "kind": "settle", "source": "prepaid", "currency": "CNY",
             "amount": "-2.000000", "entry": "wallet/7/0"}  # fmt: skip
    return {"next": None, "previous": None, "results": [moved]}


GRANT = {"number": 2, "reference": "welcome/acme", "currency": "CNY", "amount": "5.000000", "left": "3.000000",
         "expires_at": "2099-01-01T00:00:00Z", "reason": "welcome", "granted_at": "2026-03-01T00:00:00Z"}  # fmt: skip


@route("GET", "/credit/grants")
def credit_grants(handler: Handler, _: Json) -> Json:
    return {"next": None, "previous": None, "results": [GRANT]}


@route("POST", "/credit/grants")
def give_a_grant(handler: Handler, _: Json) -> Any:
    return GRANT | json.loads(handler.body)


@route("POST", "/credit/top-ups")
def record_a_top_up(handler: Handler, _: Json) -> Any:
    given = json.loads(handler.body)
    return {"number": 9, "currency": "CNY", "recorded_at": "2026-03-01T00:00:00Z"} | given


@route("POST", "/credit/blocks(?P<lift>/lift)?")
def credit_blocks(handler: Handler, variables: Json) -> Json:
    return {"changed": not variables["lift"]}


BUDGET = {"number": 3, "name": "film", "scope": "project", "subject": "film", "currency": "CNY", "period": "month",
          "period_start": "2026-03-01T00:00:00Z", "amount": "500.000000", "spent": "12.000000", "held": "1.000000",
          "thresholds": [{"percent": 80, "action": "notify"}], "created_at": "2026-03-01T00:00:00Z", "closed_at": None}  # fmt: skip


@route("GET", "/budgets")
def read_budgets(handler: Handler, _: Json) -> Json:
    return {"next": None, "previous": None, "results": [BUDGET]}


@route("POST", "/budgets")
def open_a_budget(handler: Handler, _: Json) -> Any:
    return 201, BUDGET | handler.json()


@route("PATCH", "/budgets/(?P<number>[0-9]+)")
def change_a_budget(handler: Handler, _: Json) -> Json:
    return BUDGET | handler.json()


@route("DELETE", "/budgets/(?P<number>[0-9]+)")
def close_a_budget(handler: Handler, _: Json) -> Any:
    return 204, None


@route("GET", "/budgets/alerts")
def read_budget_alerts(handler: Handler, _: Json) -> Json:
    sums = {"amount": "500.000000", "spent": "400.000000", "held": "1.000000"}
    alert = {"budget": 3, "percent": 80, "action": "notify", "period_start": "2026-03-01T00:00:00Z"} | sums
    return {"next": None, "previous": None, "results": [alert | {"raised_at": "2026-03-09T00:00:00Z"}]}

"""`webhook ...`: where the organization is told of events, what was sent, and the events themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gridfare.cli.group import FAILED
from gridfare.cli.output import AsJson, Output, clean, facts, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import ago, local
from gridfare.webhooks import WebhookRefused, verify_webhook

webhook_app = typer.Typer(help="Webhooks: be told of events, signed and in order.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id.")]
Number = Annotated[int, typer.Argument(help="The delivery's number.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="task.delivered, invoice.* or *; may be repeated.")]


def _standing(one: dict[str, Any]) -> str:
    if not one["enabled"]:
        return f"disabled: {one['disabled_because']}" if one["disabled_because"] else "disabled"
    return f"failing since {local(one['failing_since'])}" if one["failing_since"] else "enabled"


def _show(out: Output, one: dict[str, Any]) -> None:
    pairs: list[tuple[str, Any]] = [("id", one["id"]), ("url", one["url"]), ("types", " ".join(one["types"]))]
    pairs.append(("state", _standing(one)))
    if "secret" in one:
        pairs.append(("secret", one["secret"]))
    out.show(one, facts(pairs), *(["keep the secret: it is not shown again"] if "secret" in one else []))


@webhook_app.command("list")
def list_webhooks(ctx: typer.Context, as_json: AsJson = False) -> None:
    """All webhooks, and how they do."""
    out, found = Output(as_json), list(open_client(ctx).webhooks())
    rows = [(one["id"], one["url"], " ".join(one["types"]), _standing(one), ago(one["delivered_at"])) for one in found]
    hint = "no webhooks; make one: gridfare webhook create URL"
    out.show(found, table(["webhook", "url", "types", "state", "delivered"], rows, whole=["webhook"]) if found else hint)


@webhook_app.command("create")
def create(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to send events, https://...")],
    types: Types = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a webhook. Its secret is shown this once."""
    _show(Output(as_json), open_client(ctx).create_webhook(url, types or ["*"], description=description))


@webhook_app.command("change")
def change(
    ctx: typer.Context,
    webhook: Id,
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    types: Types = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Enabling sends what has waited.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a webhook, turn it off or on."""
    given = {"url": url, "types": types or None, "enabled": enabled}
    changes = {name: value for name, value in given.items() if value is not None}
    _show(Output(as_json), open_client(ctx).update_webhook(webhook, **changes))


@webhook_app.command("delete")
def delete(ctx: typer.Context, webhook: Id, as_json: AsJson = False) -> None:
    """Away with a webhook, its deliveries and their log."""
    out = Output(as_json)
    open_client(ctx).delete_webhook(webhook)
    out.show({"webhook": webhook, "deleted": True}, f"deleted {clean(webhook)}")


@webhook_app.command("rotate")
def rotate(
    ctx: typer.Context,
    webhook: Id,
    overlap: Annotated[int, typer.Option("--overlap-hours", min=0, help="So long the old secret signs along.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Make a new secret. It is shown this once."""
    _show(Output(as_json), open_client(ctx).rotate_webhook(webhook, overlap_hours=overlap))


@webhook_app.command("ping")
def ping(
    ctx: typer.Context,
    webhook: Id,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the answer.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Send a trial event, and say what came of it. Fails when the receiver did not take it."""
    out, sent = Output(as_json), open_client(ctx).ping_webhook(webhook, wait_s=wait)
    said = f"{sent['state']}, answer {sent['status']}" if sent["status"] else sent["error"] or "not sent yet"
    out.show(sent, clean(f"delivery {sent['id']}: {said}"))
    if sent["state"] != "delivered":
        raise typer.Exit(FAILED)


@webhook_app.command("deliveries")
def deliveries(
    ctx: typer.Context,
    webhook: Id,
    state: Annotated[str | None, typer.Option(help="pending, sending, delivered or given_up.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only of this subject, task/<id>.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What was and will be sent, newest first."""
    out = Output(as_json)
    found = list(open_client(ctx).webhook_deliveries(webhook, state=state, subject=subject, most=limit))
    rows = [
        (d["id"], d["type"], d["subject"], state_text(d["state"]), d["tries"], d["status"] or d["error"] or "-", local(d["due_at"]))
        for d in found
    ]
    columns = ["delivery", "type", "subject", "state", "tries", "answer", "due"]
    out.show(found, table(columns, rows, right=["delivery", "tries"]) if found else "nothing was to be sent")


@webhook_app.command("delivery")
def delivery(ctx: typer.Context, webhook: Id, number: Number, as_json: AsJson = False) -> None:
    """One delivery: its event, and every try with the answer's beginning."""
    out, one = Output(as_json), open_client(ctx).webhook_delivery(webhook, number)
    shown = facts([("event", one["event"]), ("type", one["type"]), ("subject", one["subject"]), ("state", one["state"])])
    rows = [(t["number"], local(t["at"]), t["status"] or t["error"], t["ms"], t["detail"] or t["answer"][:60]) for t in one["log"]]
    out.show(one, shown, *([table(["try", "at", "answer", "ms", "says"], rows, right=["try", "ms"])] if rows else []))


@webhook_app.command("replay")
def replay(
    ctx: typer.Context,
    webhook: Id,
    number: Annotated[int | None, typer.Argument(help="One delivery.")] = None,
    since: Annotated[str | None, typer.Option(help="Everything since this moment, RFC 3339.")] = None,
    failed_only: Annotated[bool, typer.Option("--failed-only", help="Only what was given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send one delivery again, or everything since a moment."""
    out, client = Output(as_json), open_client(ctx)
    if (number is None) == (since is None):
        raise typer.BadParameter("name one delivery, or a moment with --since")
    if number is not None:
        client.replay_delivery(webhook, number)
    count = 1 if since is None else client.replay_webhook(webhook, since, failed_only=failed_only)
    out.show({"deliveries": count}, f"{count} will be sent")


@webhook_app.command("types")
def types_there_are(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The types of events."""
    out, found = Output(as_json), open_client(ctx).webhook_types()
    out.show(found, table(["type", "tells"], [(one["name"], one["tells"]) for one in found], whole=["type"]))


@webhook_app.command("events")
def events(
    ctx: typer.Context,
    after: Annotated[str, typer.Option(help="Go on behind this: `after` of the last answer.")] = "",
    types: Types = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
    as_json: AsJson = False,
) -> None:
    """What happened, oldest first: to ask for instead of being told."""
    out, page = Output(as_json), open_client(ctx).organization_events(after, types=types or (), limit=limit)
    rows = [(one["id"], one["type"], one["subject"], local(one["timestamp"])) for one in page["results"]]
    shown = table(["event", "type", "subject", "at"], rows, whole=["event"]) if rows else "nothing (more)"
    out.show(page, shown, clean(f"go on with --after {page['after']}") if page["after"] else "")


@webhook_app.command("verify")
def verify(
    body: Annotated[Path, typer.Argument(help="A file with the request's raw body.")],
    message: Annotated[str, typer.Option("--id", help="Its header webhook-id.")],
    timestamp: Annotated[str, typer.Option(help="Its header webhook-timestamp.")],
    signature: Annotated[str, typer.Option(help="Its header webhook-signature.")],
    secret: Annotated[str, typer.Option(envvar="GRIDFARE_WEBHOOK_SECRET", help="whsec_...")],
    as_json: AsJson = False,
) -> None:
    """Check a request that a receiver kept, whatever its age. Needs no platform."""
    out = Output(as_json)
    headers = {"webhook-id": message, "webhook-timestamp": timestamp, "webhook-signature": signature}
    try:
        event = verify_webhook(headers, body.read_bytes(), secret, tolerance_s=float("inf"))
    except WebhookRefused as refused:
        out.show({"verified": False, "code": refused.code, "detail": refused.detail}, f"refused: {refused.detail}")
        raise typer.Exit(FAILED) from None
    except (ValueError, OSError) as wrong:
        raise typer.BadParameter(str(wrong)) from None
    out.show({"verified": True, "event": event}, clean(f"verified: {event.get('type')}"))

"""`login`, `logout`, `whoami`, `keys`, `bill`: who one is, and what one owes or earns."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare import config
from gridfare.cli.output import AsJson, Output, clean, facts, table
from gridfare.cli.session import open_client, session_of
from gridfare.cli.words import ago, local, money
from gridfare.client import Client, checked_url
from gridfare.sdk.answers import Identity, Key
from gridfare.sdk.money_answers import Statement

keys_app = typer.Typer(help="API keys of the organization.", no_args_is_help=True)


def login(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="https://...")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="Asked for when missing.")] = None,
    password: Annotated[
        str | None, typer.Option(envvar="GRIDFARE_PASSWORD", help="Asked for when missing, which is safer.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Store this key instead of asking for a password.")] = None,
    organization: Annotated[str | None, typer.Option("--org", help="When you belong to several.")] = None,
    key_name: Annotated[str | None, typer.Option("--key-name", help="Name of the new key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Remember a platform and a key for it, in a file that only you can read."""
    out, url = Output(as_json), checked_url(url)
    if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        out.note("warning: http sends the key readable for everybody on the way; use https", "yellow")
    key = key or session_of(ctx).key or _new_key(url, user, password, organization, key_name)
    with Client(url, key) as client:
        who = client.me()
    name = _remember(ctx, url, key, who)
    out.show(who | {"url": url, "profile": name}, _who_line(who, url))


def _new_key(url: str, user: str | None, password: str | None, organization: str | None, key_name: str | None) -> str:
    user = user or typer.prompt("User", err=True)
    password = password or typer.prompt("Password", hide_input=True, err=True)
    with Client(url, anonymous=True) as client:
        answer = client.login(
            user,
            password,
            organization=organization,
            name=key_name or f"command line on {socket.gethostname()}",
        )
    return answer["key"]


def _remember(ctx: typer.Context, url: str, key: str, who: Identity) -> str:
    stored = config.load()
    name = stored.name(session_of(ctx).profile)
    organization = (who["organization"] or {}).get("slug", "")
    stored.profiles[name] = config.Profile(url, key, who["user"]["username"], organization)
    config.save(replace(stored, current=name))
    return name


def _who_line(who: Identity, url: str) -> Text:
    organization = who["organization"]
    place = f" of {organization['slug']} ({organization['name']})" if organization else ""
    operator = ", operator" if who["user"].get("is_operator") else ""
    return Text(clean(f"{who['user']['username']}{place}, {who['role'] or 'no role'}{operator} at {url}"))


def logout(
    ctx: typer.Context,
    revoke: Annotated[bool, typer.Option("--revoke", help="Make the key useless everywhere, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget the stored key."""
    out, stored = Output(as_json), config.load()
    name = stored.name(session_of(ctx).profile)
    profile = stored.profiles.pop(name, None)
    if profile is not None and revoke:
        with Client(profile.url, profile.key) as client:
            client.revoke_key(profile.key.split("_")[1])
    config.save(stored)
    said = f"forgot the key for {profile.url}" if profile else f"profile {name} was not logged in"
    out.show({"profile": name, "logged_out": profile is not None, "revoked": bool(profile and revoke)}, said)


def whoami(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Whose key this is, and what it may do."""
    out, client = Output(as_json), open_client(ctx)
    who = client.me()
    out.show(who | {"url": client.url}, _who_line(who, client.url), f"scopes: {clean(' '.join(who['scopes']))}")


def industry(
    ctx: typer.Context,
    section: Annotated[str | None, typer.Argument(help="A to T of GB/T 4754-2017; an empty text takes it off.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what your organization does, which the index counts by; without a section, what is said now."""
    client = open_client(ctx)
    told = client.organization() if section is None else client.set_industry(section.upper())
    Output(as_json).show(told, clean(f"{told['name']}: {told['industry'] or 'no industry said'}"))


@keys_app.command("list")
def list_keys(ctx: typer.Context, as_json: AsJson = False) -> None:
    """All keys, without their secrets."""
    out, found = Output(as_json), list(open_client(ctx).keys())
    rows = [
        (key["prefix"], key["name"], " ".join(key["scopes"]), local(key["expires_at"]), _key_state(key))
        for key in found
    ]
    out.show(found, table(["prefix", "name", "scopes", "expires", "last used"], rows, whole=["prefix"]))


def _key_state(key: Key) -> str:
    return "revoked" if key.get("revoked_at") else ago(key.get("last_used_at"))


@keys_app.command("create")
def create_key(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="May be repeated; all when left out.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Expires after so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once."""
    out = Output(as_json)
    _show_new(out, open_client(ctx).create_key(name, scope or ["*"], expires_in_days=days))


@keys_app.command("rotate")
def rotate_key(ctx: typer.Context, prefix: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """Replace a key; the old one lives 24 hours more. The stored profile takes the new one if it used the old."""
    out, made = Output(as_json), open_client(ctx).rotate_key(prefix)
    stored = config.load()
    for name, profile in stored.profiles.items():
        if profile.key.split("_")[1:2] == [prefix]:
            stored.profiles[name] = replace(profile, key=made["key"])
            config.save(stored)
    _show_new(out, made)


@keys_app.command("revoke")
def revoke_key(ctx: typer.Context, prefix: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """Make a key useless at once."""
    out = Output(as_json)
    open_client(ctx).revoke_key(prefix)
    out.show({"prefix": prefix, "revoked": True}, f"revoked {prefix}")


def _show_new(out: Output, key: Key) -> None:
    shown = [
        ("key", Text(clean(key["key"]), "bold")),
        ("name", key["name"]),
        ("scopes", " ".join(key["scopes"])),
    ]
    out.show(key, facts([*shown, ("expires", local(key["expires_at"]) if key["expires_at"] else "never")]))
    out.note("this is the only time the key is shown", "yellow")


def bill(
    ctx: typer.Context,
    party: Annotated[
        str | None, typer.Option(help="user, provider or publisher; what your organization is when left out.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DATE")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to before this day.")] = None,
    normalised: Annotated[bool, typer.Option("--fp32", help="Per month, customer and pool: FP32 work beside money.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """What you owe as a user, and earn as a provider or publisher.

    Without --party every side is shown that your organization is on; --json and --csv print the first of them: user, provider,
    publisher.
    """
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    client, group = open_client(ctx), "month" if normalised else None
    first, *others = [party] if party else sides_of(client.me()["organization"])
    if as_csv:
        typer.echo(client.statement_csv(first, since=since, until=until, group=group), nl=False)
        return
    sides = [first] if as_json else [first, *others]
    statements = [client.statement(side, since=since, until=until, group=group) for side in sides]
    views = [view for one in statements for view in (_normalised_view(one) if normalised else _bill_view(one))]
    Output(as_json).show(statements[0], *views)


def sides_of(organization: dict[str, Any] | None) -> list[str]:
    """The sides of the market on which an organization stands; who stands on none asks."""
    named = organization or {}
    return [side for side in ("user", "provider", "publisher") if named.get(f"is_{side}")] or ["user"]


def _normalised_view(statement: Statement) -> list[RenderableType]:
    """标准算力 beside money: what was used as work of FP32, and as hours of a machine of one TFLOP/s."""
    currency = statement["currency"]
    rows = [
        (
            line["month"], line["organization"], line["pool"], line["units"], line["fp32_tflop"], line["fp32_tflops_hours"],
            money(line["amount"], currency), money(line["share"], currency),
        )
        for line in statement["lines"]
    ]  # fmt: skip
    columns = ["month", "customer", "pool", "units", "FP32 TFLOP", "TFLOPS hours", "amount", "share"]
    lines = table(columns, rows, right=columns[3:]) if rows else Text("nothing")
    return [lines, Text(f"\ntotal {money(statement['total'], currency)}", "bold")]


def _bill_view(statement: Statement) -> list[RenderableType]:
    currency = statement["currency"]
    asked = {name: value for name, value in statement.items() if name in ("from", "to")}
    period = f"{local(str(asked.get('from') or '')) if asked.get('from') else 'the beginning'} to "
    period += local(str(asked["to"])) if asked.get("to") else "now"
    rows = [
        (
            line["task"] or "by period",
            line["kind"],
            line.get("capability"),
            line.get("pool"),
            line.get("units"),
            money(line["amount"], currency),
            money(line.get("share", line["amount"]), currency),
        )
        for line in statement["lines"]
    ]
    columns = ["task", "kind", "capability", "pool", "units", "amount", "share"]
    head = Text(clean(f"{statement['organization']} as {statement['party']}, {period}"), "bold")
    lines = table(columns, rows, right=["units", "amount", "share"], whole=["task"]) if rows else Text("nothing")
    return [head, lines, Text(f"\ntotal {money(statement['total'], currency)}", "bold")]

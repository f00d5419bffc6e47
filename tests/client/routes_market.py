"""What the stand-in answers of capabilities, regions and pools. Importing it adds the routes."""

from __future__ import annotations

import re
from typing import Any

from tests.client.platform import POOL, Handler, Json, Problem, route


@route("GET", "/capabilities")
def capabilities(handler: Handler, _: Json) -> Json:
    versions = [{"version": "1.0.0", "state": "published", "published_at": "2030-01-01T00:00:00Z"}]
    return handler.page([{"name": "gridfare/render", "summary": "Physically based rendering", "versions": versions}])


@route("POST", "/capabilities")
def draft(handler: Handler, _: Json) -> Any:
    body = handler.json()
    name = re.search(r"^name: (\S+)", body["manifest"], re.MULTILINE)
    version = re.search(r"^version: (\S+)", body["manifest"], re.MULTILINE)
    if name is None or version is None:
        raise Problem(422, "invalid_manifest", "is missing", field="manifest.name")
    full = f"acme/{name[1]}@{version[1]}"
    row = {"name": f"acme/{name[1]}", "version": version[1], "state": "draft", "published_at": None, "test_report": []}
    kept = handler.platform.versions.setdefault(full, row | {"program": body["program"], "looks": 0})
    if kept["program"] != body["program"]:
        raise Problem(409, "version_exists", "a version never changes", field="manifest.version")
    return 201, kept


@route("GET", "/capabilities/(?P<name>[^/]+/[^/]+)/versions/(?P<version>[^/]+)")
def read_version(handler: Handler, variables: Json) -> Json:
    kept = handler.platform.versions[f"{variables['name']}@{variables['version']}"]
    if kept["state"] == "testing":
        kept["looks"] += 1
        if kept["looks"] > 1:
            outcome = {"name": "one", "state": "passed", "detail": ""}
            if handler.platform.verdict == "draft":
                outcome = {"name": "one", "state": "failed", "detail": "video.mp4 is missing"}
            kept |= {"state": handler.platform.verdict, "test_report": [outcome]}
    return kept


@route("POST", "/capabilities/(?P<name>[^/]+/[^/]+)/versions/(?P<version>[^/]+)/(?P<verb>[a-z]+)")
def move_version(handler: Handler, variables: Json) -> Any:
    kept = handler.platform.versions[f"{variables['name']}@{variables['version']}"]
    states = {"publish": "testing", "deprecate": "deprecated", "withdraw": "withdrawn", "trust": kept["state"]}
    kept["state"] = states[variables["verb"]]
    return 202, kept


@route("GET", "/capabilities/(?P<name>[^/]+/[^/]+)")
def read_capability(handler: Handler, variables: Json) -> Json:
    properties = {
        "frames": {"type": "integer", "default": 24, "description": "Pictures of the flight"},
        "scene": {"type": "string", "format": "artifact"},
    }
    manifest = {"summary": "Rendering", "inputs": {"type": "object", "required": ["scene"], "properties": properties}}
    return {"name": variables["name"], "manifest": manifest, "versions": [{"version": "1.0.0", "state": "published"}]}


@route("GET", "/regions")
def regions(handler: Handler, _: Json) -> Json:
    row = {
        "code": "ningxia",
        "gb_code": "640000",
        "name": "Ningxia",
        "name_zh": "宁夏",
        "latitude": "38.4",
        "longitude": "106.2",
    }
    return handler.page([row])


def new_pool(name: str, region: str) -> Json:
    return {
        "identifier": POOL, "name": name, "region": region, "kind": "general", "tier": "cloud", "state": "active",
        "instruction_set": "x86_64", "cores": 64, "memory_mib": 131072, "disk_mib": 1048576,
        "accelerators": [{"model": "A100", "count": 8, "memory_mib": 81920}], "executors": ["process", "sandbox"],
        "fp32_gflops": "2150.5", "selftest": [
            {"code": "sandbox", "status": "pass", "measured": "bubblewrap 0.11", "needed": "bubblewrap", "hint": ""},
            {"code": "disk_free", "status": "warn", "measured": "9 GiB", "needed": "10 GiB", "hint": "free some space"},
        ],
        "agent": {"name": "node-1", "version": "0.1.0", "seen_at": "2030-01-01T00:00:00Z", "online": True},
        "load": {"cores_leased": 12, "attempts": 12}, "bandwidth_mbps": 1000, "benchmark": None,
    }  # fmt: skip


@route("GET", "/pools")
def pools(handler: Handler, _: Json) -> Json:
    return handler.page(list(handler.platform.pools.values()))


@route("GET", "/market/pools")
def market(handler: Handler, _: Json) -> Json:
    offer = {"basis": "consumption", "currency": "CNY", "rates": {"core_second": "0.000100000000", "gb_moved": "0.80"}}
    own = offer | {"rates": {"core_second": "0.00007"}}
    return handler.page([new_pool("west", "ningxia") | {"offer": offer, "own_offer": own}])


@route("POST", "/pools")
def create_pool(handler: Handler, _: Json) -> Any:
    body = handler.json()
    handler.platform.pools[POOL] = new_pool(body["name"], body["region"]) | {"state": "registered", "agent": None}
    return 201, handler.platform.pools[POOL]


@route("GET", "/pools/(?P<id>[^/]+)")
def read_pool(handler: Handler, variables: Json) -> Json:
    if variables["id"] not in handler.platform.pools:
        raise Problem(404, "not_found", "no such pool")
    pool: Json = handler.platform.pools[variables["id"]]
    return pool


@route("PATCH", "/pools/(?P<id>[^/]+)")
def change_pool(handler: Handler, variables: Json) -> Json:
    return read_pool(handler, variables) | handler.json()


@route("POST", "/pools/(?P<id>[^/]+)/join-tokens")
def join_token(handler: Handler, variables: Json) -> Any:
    return 201, {"token": "join-me-once", "expires_at": "2030-01-01T00:15:00Z"}


@route("GET", "/pools/(?P<id>[^/]+)/offers")
def offers(handler: Handler, variables: Json) -> Json:
    return handler.page(handler.platform.offers)


@route("POST", "/pools/(?P<id>[^/]+)/offers")
def create_offer(handler: Handler, variables: Json) -> Any:
    made = {"currency": "CNY", "valid_from": "2030-01-01T00:00:00Z", "valid_to": None} | handler.json()
    handler.platform.offers.insert(0, made)
    return 201, made


@route("GET", "/pools/(?P<id>[^/]+)/maintenance")
def windows(handler: Handler, _: Json) -> Json:
    return handler.page(handler.platform.windows)


@route("POST", "/pools/(?P<id>[^/]+)/maintenance")
def plan_window(handler: Handler, variables: Json) -> tuple[int, Json]:
    made = handler.json() | {"number": len(handler.platform.windows) + 1, "announced_at": "2030-01-01T00:00:00Z"}
    handler.platform.windows.append(made)
    return 201, made


@route("DELETE", "/pools/(?P<id>[^/]+)/maintenance/(?P<number>[0-9]+)")
def take_back_window(handler: Handler, variables: Json) -> tuple[int, None]:
    handler.platform.windows = [one for one in handler.platform.windows if str(one["number"]) != variables["number"]]
    return 204, None


@route("POST", "/pools/(?P<id>[^/]+)/reclaim")
def reclaim_pool(handler: Handler, variables: Json) -> Json:
    pool: Json = handler.platform.pools[variables["id"]]
    pool |= {"reclaim_at": "2030-01-01T00:10:00Z", "asked": handler.json()}
    return pool


@route("DELETE", "/pools/(?P<id>[^/]+)/reclaim")
def give_back_pool(handler: Handler, variables: Json) -> Json:
    pool: Json = handler.platform.pools[variables["id"]]
    pool["reclaim_at"] = None
    return pool


TRUST: Json = {
    "pool": POOL,
    "level": 2,
    "level_until": "2030-01-31T00:00:00Z",
    "level_missing": "50 checked results; there are 12",
    "unproven": True,
    "believed_up_to": 1000.0,
    "reputation": {"score": 0.93, "status": "rated", "formula": "", "valid": 12, "invalid": 0, "lost": 0, "sample_size": 12},
    "quarantine": {"state": "closed", "until": "2030-01-01T01:00:00Z", "reason": "3 wrong results", "times": 1},
    "daily_quota": 128,
    "versions": [],
    "events": [{"kind": "quarantined", "detail": "3 wrong results", "at": "2030-01-01T00:00:00Z"}],
}


@route("GET", "/pools/(?P<id>[^/]+)/trust")
def pool_trust(handler: Handler, variables: Json) -> Json:
    capability = {"capability": "gridfare/render@1.0.0", "consecutive_valid": 12, "check_probability": 0.0833}
    return TRUST | {"versions": [capability | {"reputation": TRUST["reputation"]}]}


@route("POST", "/pools/(?P<id>[^/]+)/(?:lift|audit)")
def pool_word(handler: Handler, variables: Json) -> Json:
    return TRUST | {"quarantine": None, "daily_quota": None, "level": 4 if handler.body else 2}


@route("POST", "/pools/(?P<id>[^/]+)/(?P<verb>[a-z]+)")
def move_pool(handler: Handler, variables: Json) -> Json:
    states = {"drain": "draining", "resume": "active", "retire": "retired"}
    if variables["verb"] not in states:
        raise Problem(403, "not_allowed", "operators only")
    handler.platform.pools[variables["id"]]["state"] = states[variables["verb"]]
    return read_pool(handler, variables)

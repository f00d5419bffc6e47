"""A small platform in the test's own process: real HTTP, what the client uses of docs/api.md, faults on demand.

`python -m tests.client.platform` serves it, to look at the command line by hand.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
KEY = "gf_alice01_secret"
POOL = "CN-NX-G-000001-7"


class Problem(Exception):
    """An RFC 9457 answer."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.document = {"type": f"urn:gridfare:error:{code}", "title": code, "status": status}
        self.document |= {"code": code, "detail": detail} | more


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD path" matches.

    kind  "drop": no answer; "cut": the body (either way) breaks off after `at` bytes; a number: that status
    """

    match: str
    kind: str | int
    times: int = 1
    at: int = 0
    headers: Json = field(default_factory=dict)


@dataclass
class Platform:
    """What the platform knows. Tests read and change it directly."""

    faults: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    keys: list[Json] = field(default_factory=list)
    uploads: dict[str, Json] = field(default_factory=dict)
    artifacts: dict[str, Json] = field(default_factory=dict)
    tasks: dict[str, Json] = field(default_factory=dict)
    by_request: dict[str, tuple[Json, str]] = field(default_factory=dict)
    events: dict[str, list[Json]] = field(default_factory=dict)
    logs: dict[str, list[Json]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pools: dict[str, Json] = field(default_factory=dict)
    attempts: list[Json] = field(default_factory=list)  # of every unit of every task
    windows: list[Json] = field(default_factory=list)
    offers: list[Json] = field(default_factory=list)
    versions: dict[str, Json] = field(default_factory=dict)
    explain: Json = field(default_factory=lambda: {"where": [], "decisions": [], "waiting": None})
    answers: dict[str, Json | bytes] = field(default_factory=dict)  # what stands for doors without a story, by "METHOD /path"
    ledgers: dict[str, bytes] = field(default_factory=dict)  # exports of the ledger, by format
    states: list[str] = field(default_factory=list)  # what a new task goes through, one state per look
    steps: dict[str, int] = field(default_factory=dict)
    usage_ids: set[str] = field(default_factory=set)
    verdict: str = "published"  # what the tests of a capability will say
    pages_of: int = 500
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fault(self, call: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.match, call):
                    fault.times -= 1
                    return fault
        return None

    def deliver(self, task_id: str, files: dict[str, bytes]) -> None:
        """End a task well, with these files."""
        self.files[task_id] = files
        total = sum(map(len, files.values()))
        result = {"files": len(files), "bytes": total, "result_hash": "00" * 32, "manifest_url": ""}
        self.tasks[task_id] |= {"state": "delivered", "result": result, "ended_at": "2030-01-01T00:00:42Z"}
        self.tasks[task_id]["progress"] |= {"units_done": 2, "units_running": 0, "fraction": 1.0}
        self.tasks[task_id]["cost"] |= {"amount": "0.120000", "final": True}

    def advance(self, task: Json) -> None:
        """One step along `states`, as if time went by between two looks."""
        step = self.steps.get(task["id"], 0)
        if step >= len(self.states):
            return
        self.steps[task["id"]], state = step + 1, self.states[step]
        if state == "delivered":
            self.deliver(
                task["id"], self.files.get(task["id"]) or {"frames/0001.png": b"picture", "video.mp4": b"film"}
            )
            return
        task["state"] = state
        if state in ("failed", "expired", "cancelled"):
            reasons = {"failed": ("capability_error", "unit 3: exit code 2")}
            task["reason_class"], task["reason"] = reasons.get(state, ("", ""))
            task["ended_at"] = "2030-01-01T00:00:42Z"
            task["cost"]["final"] = True
        elif state == "running":
            task["started_at"] = "2030-01-01T00:00:01Z"
            task["progress"] |= {"units_done": 1, "units_running": 1, "units_waiting": 0, "fraction": 0.5}


def new_task(platform: Platform, body: Json) -> Json:
    task_id = str(uuid.uuid4())
    asked = {
        "name": "",
        "inputs": {},
        "objective": "cheapest",
        "constraints": {},
        "deadline": None,
        "labels": {},
    } | body
    progress = {"units_total": 2, "units_done": 0, "units_running": 0, "units_waiting": 2, "fraction": 0.0}
    cost = {"amount": "0", "currency": "CNY", "final": False}
    times = {"created_at": "2030-01-01T00:00:00Z", "started_at": None, "ended_at": None}
    state = {"state": "queued", "reason_class": "", "reason": "", "result": None, "cancel_requested": False}
    task = {"id": task_id, "progress": progress, "cost": cost} | asked | times | state
    platform.tasks[task_id] = task
    platform.events[task_id] = [
        {"seq": n, "kind": kind, "data": data, "at": f"2030-01-01T00:00:{n:02}Z"}
        for n, (kind, data) in enumerate(
            [("submitted", {}), ("placed", {"pool": POOL, "units": 2}), ("started", {}), ("delivered", {"files": 2})], 1
        )
    ]
    platform.logs[task_id] = [
        {"attempt": 1, "unit": 0, "stage": "unit", "stream": "stdout", "offset": 0, "text": "frame 0 "},
        {"attempt": 2, "unit": 1, "stage": "unit", "stream": "stdout", "offset": 0, "text": "frame 1 done\n"},
        {"attempt": 1, "unit": 0, "stage": "unit", "stream": "stdout", "offset": 8, "text": "done\n"},
        {"attempt": 1, "unit": 0, "stage": "unit", "stream": "stderr", "offset": 0, "text": "slow disk\x1b[2J\n"},
    ]
    return task


Route = Callable[["Handler", Json], Any]
ROUTES: list[tuple[str, str, Route]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register `fn(handler, variables)`; it returns a JSON value, (status, value), or None when it answered itself."""

    def register(fn: Route) -> Route:
        ROUTES.append((method, f"^/api/v1{pattern}$", fn))
        return fn

    return register


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    platform: Platform
    fault: Fault | None

    def log_message(self, *args: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        path = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(path.query).items()}
        self.body = b""
        call = f"{self.command} {unquote(path.path)}"
        self.platform.calls.append(call)
        self.fault = self.platform.fault(call)
        try:
            self._read_body()
            if self.fault is not None and self.fault.kind == "drop":
                self.cut()
            elif self.fault is not None and isinstance(self.fault.kind, int):
                self.send({"code": "busy", "detail": "come back later"}, self.fault.kind, self.fault.headers)
            else:
                self._route(unquote(path.path))
        except Problem as problem:
            self.send(problem.document, problem.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _read_body(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if self.fault is not None and self.fault.kind == "cut" and self.command == "PATCH":
            length = min(length, self.fault.at)
        self.body = self.rfile.read(length) if length else b""

    def _route(self, path: str) -> None:
        told = self.platform.answers.get(f"{self.command} {path.removeprefix('/api/v1')}")
        if told is not None:
            return self.send(told)
        for method, pattern, fn in ROUTES:
            found = re.match(pattern, path)
            if method == self.command and found:
                if not path.endswith("/keys/login") and self.headers.get("authorization") != f"Bearer {KEY}":
                    raise Problem(401, "not_authenticated", "no valid key")
                with self.platform.lock:
                    answer = fn(self, found.groupdict())
                if answer is not None:
                    status, value = answer if isinstance(answer, tuple) else (200, answer)
                    self.send(value, status)
                return None
        raise Problem(404, "not_found", "no such thing")

    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document

    def send(self, value: Any, status: int = 200, headers: Json | None = None) -> None:
        data = b"" if status == 204 else value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.end_headers()
        if self.fault is not None and self.fault.kind == "cut" and self.command == "GET":
            self.wfile.write(data[: self.fault.at])
            self.cut()
        elif self.command != "HEAD":
            self.wfile.write(data)

    def cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def page(self, rows: list[Any]) -> Json:
        start, size = int(self.query.get("cursor", 0)), min(int(self.query.get("limit", 50)), self.platform.pages_of)
        more = start + size < len(rows)
        # another host on purpose: the client must not follow it there
        link = f"http://elsewhere.invalid{urlsplit(self.path).path}?cursor={start + size}&limit={size}"
        return {"next": link if more else None, "previous": None, "results": rows[start : start + size]}

    def task(self, variables: Json) -> Json:
        task = self.platform.tasks.get(variables["id"])
        if task is None:
            raise Problem(404, "not_found", "no such task")
        return task


@route("GET", "/me")
def me(handler: Handler, _: Json) -> Json:
    organization = {"slug": "acme", "name": "Acme", "is_provider": True, "is_publisher": True, "is_user": True}
    who = {"username": "alice", "is_operator": False}
    return {"user": who, "organization": organization, "role": "owner", "scopes": ["*"]}


@route("POST", "/keys/login")
def login(handler: Handler, _: Json) -> Any:
    body = handler.json()
    if (body["username"], body["password"]) != ("alice", "wonderland"):
        raise Problem(401, "login_failed", "user or password is wrong")
    made = {"prefix": "alice01", "name": body.get("name", ""), "scopes": ["*"], "expires_at": None}
    handler.platform.keys.append(made)
    return 201, made | {"key": KEY}


@route("GET", "/keys")
def keys(handler: Handler, _: Json) -> Json:
    return handler.page(handler.platform.keys)


@route("POST", "/keys")
def create_key(handler: Handler, _: Json) -> Any:
    made = {"prefix": "new02", "expires_at": None} | {k: v for k, v in handler.json().items() if k != "expires_in_days"}
    handler.platform.keys.append(made)
    return 201, made | {"key": "gf_new02_secret"}


@route("POST", "/keys/(?P<prefix>[^/]+)/rotate")
def rotate_key(handler: Handler, variables: Json) -> Any:
    return 201, {"prefix": "next03", "name": "n", "scopes": ["*"], "expires_at": None, "key": "gf_next03_secret"}


@route("DELETE", "/keys/(?P<prefix>[^/]+)")
def revoke_key(handler: Handler, variables: Json) -> Any:
    handler.platform.keys = [key for key in handler.platform.keys if key["prefix"] != variables["prefix"]]
    return 204, None


@route("POST", "/uploads")
def begin_upload(handler: Handler, _: Json) -> Any:
    body = handler.json()
    for artifact in handler.platform.artifacts.values():
        if (artifact["sha256"], artifact["name"]) == (body["sha256"], body["name"]):
            return 200, {"id": None, "offset": body["bytes"], "artifact": artifact["id"]}
    upload = {"id": str(uuid.uuid4()), "data": b"", "artifact": None} | body
    handler.platform.uploads[upload["id"]] = upload
    return 201, _upload(upload)


def _upload(upload: Json) -> Json:
    return {"id": upload["id"], "offset": len(upload["data"]), "bytes": upload["bytes"], "artifact": upload["artifact"]}


@route("GET", "/uploads/(?P<id>[^/]+)")
def read_upload(handler: Handler, variables: Json) -> Json:
    return _upload(handler.platform.uploads[variables["id"]])


@route("PATCH", "/uploads/(?P<id>[^/]+)")
def continue_upload(handler: Handler, variables: Json) -> Json | None:
    upload = handler.platform.uploads[variables["id"]]
    if int(handler.headers["upload-offset"]) != len(upload["data"]):
        raise Problem(409, "offset_mismatch", "another offset", offset=len(upload["data"]))
    upload["data"] += handler.body
    if handler.fault is not None and handler.fault.kind == "cut":
        handler.cut()
        return None
    if len(upload["data"]) == upload["bytes"]:
        if hashlib.sha256(upload["data"]).hexdigest() != upload["sha256"]:
            raise Problem(422, "hash_mismatch", "the bytes are others than announced", field="sha256")
        upload["artifact"] = str(uuid.uuid4())
        kept = {name: upload[name] for name in ("name", "bytes", "sha256", "media_type", "data")}
        handler.platform.artifacts[upload["artifact"]] = {"id": upload["artifact"]} | kept
    return _upload(upload)


@route("POST", "/quotes")
def quote(handler: Handler, _: Json) -> Json:
    option = {
        "price": "0.120000",
        "currency": "CNY",
        "seconds": 41.5,
        "pools": [{"pool": POOL, "region": "ningxia", "units": 2}],
    }
    fast = option | {"price": "0.300000", "seconds": 12.0}
    excluded = {"memory": 1, "region": 2}
    return {"feasible": True, "cheapest": option, "fastest": fast, "excluded": excluded, "units": 2, "tflop": "1.5"}


@route("POST", "/tasks")
def submit(handler: Handler, _: Json) -> Any:
    body, request = handler.json(), handler.headers["idempotency-key"]
    if request in handler.platform.by_request:
        before, task_id = handler.platform.by_request[request]
        if before != body:
            raise Problem(422, "idempotency_mismatch", "this key was used for another request")
        return 200, handler.platform.tasks[task_id]
    if body["inputs"].get("frames") == "many":
        errors = [
            {"field": "inputs.frames", "detail": "is not an integer"},
            {"field": "inputs.x", "detail": "is unknown"},
        ]
        raise Problem(422, "invalid_input", "is not an integer", field="inputs.frames", errors=errors)
    if "unknown" in body["capability"]:
        raise Problem(404, "not_found", "no such capability", field="capability")
    task = new_task(handler.platform, body)
    handler.platform.by_request[request] = (body, task["id"])
    if handler.fault is not None and handler.fault.kind == "lost":
        handler.cut()
        return None
    return 201, task


@route("GET", "/tasks")
def tasks(handler: Handler, _: Json) -> Json:
    rows = list(handler.platform.tasks.values())[::-1]
    if state := handler.query.get("state"):
        rows = [task for task in rows if task["state"] == state]
    if label := handler.query.get("label"):
        name, _, value = label.partition(":")
        rows = [task for task in rows if task["labels"].get(name) == value]
    return handler.page(rows)


@route("GET", "/tasks/(?P<id>[^/]+)")
def read_task(handler: Handler, variables: Json) -> Json:
    task = handler.task(variables)
    handler.platform.advance(task)
    return task


@route("POST", "/tasks/(?P<id>[^/]+)/cancel")
def cancel(handler: Handler, variables: Json) -> Any:
    handler.task(variables)["cancel_requested"] = True
    return 202, handler.task(variables)


@route("GET", "/tasks/(?P<id>[^/]+)/units")
def units(handler: Handler, variables: Json) -> Json:
    row = {
        "stage": "unit",
        "state": "done",
        "pool": POOL,
        "region": "ningxia",
        "tries": 1,
        "params": {},
        "attempts": handler.platform.attempts,
    }
    return handler.page([row | {"index": index} for index in range(2)])


@route("GET", "/tasks/(?P<id>[^/]+)/explain")
def explain(handler: Handler, variables: Json) -> Json:
    handler.task(variables)
    return handler.platform.explain


@route("GET", "/tasks/(?P<id>[^/]+)/events")
def events(handler: Handler, variables: Json) -> Any:
    handler.task(variables)
    after = int(handler.query.get("after", 0))
    new = [event for event in handler.platform.events[variables["id"]] if event["seq"] > after]
    if "text/event-stream" not in handler.headers.get("accept", ""):
        return new
    text = ": hello\n\n" + "".join(
        f"id: {event['seq']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n" for event in new
    )
    text += "event: end\ndata: {}\n\n"
    cut = handler.fault.at if handler.fault is not None and handler.fault.kind == "cut" else None
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    data = text.encode()[:cut]
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n" + (b"" if cut else b"0\r\n\r\n"))
    handler.cut() if cut else handler.wfile.flush()
    return None


@route("GET", "/tasks/(?P<id>[^/]+)/logs")
def logs(handler: Handler, variables: Json) -> Json:
    rows, start = handler.platform.logs[handler.task(variables)["id"]], int(handler.query.get("after", 0))
    for name in ("unit", "stage", "stream"):
        if name in handler.query:
            rows = [row for row in rows if str(row[name]) == handler.query[name]]
    chunks = rows[start : start + 2]
    return {"next": str(start + len(chunks)), "chunks": chunks}


@route("GET", "/tasks/(?P<id>[^/]+)/result")
def result(handler: Handler, variables: Json) -> Json:
    task = handler.task(variables)
    if task["result"] is None:
        raise Problem(409, "no_result", "the task has no result")
    rows = [
        {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "media_type": "image/png"}
        for path, data in handler.platform.files[task["id"]].items()
    ]
    return {"task": task["id"], "capability": task["capability"], "result_hash": "00" * 32, "files": rows}


@route("GET", "/tasks/(?P<id>[^/]+)/result/files/(?P<path>.+)")
def result_file(handler: Handler, variables: Json) -> None:
    data = handler.platform.files[variables["id"]][variables["path"]]
    if handler.fault is not None and handler.fault.kind == "garble":
        data = bytes(len(data))
    found = re.match(r"bytes=(\d+)-", handler.headers.get("range", ""))
    start = int(found[1]) if found else 0
    handler.send(data[start:], 206 if found else 200)


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
        "load": {"cores_leased": 12, "attempts": 12}, "bandwidth_mbps": 1000,
    }  # fmt: skip


@route("GET", "/pools")
def pools(handler: Handler, _: Json) -> Json:
    return handler.page(list(handler.platform.pools.values()))


@route("GET", "/market/pools")
def market(handler: Handler, _: Json) -> Json:
    offer = {"basis": "consumption", "currency": "CNY", "rates": {"core_second": "0.000100000000", "gb_moved": "0.80"}}
    return handler.page([new_pool("west", "ningxia") | {"offer": offer}])


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
    return {"charge": int(variables["number"]), "task": "a", "reason_row": row, "lines": [PROOF_LINE], "digest": "b" * 64}


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


@contextmanager
def serving(platform: Platform, port: int = 0) -> Iterator[str]:
    """Serve a platform; gives its URL."""
    handler = type("BoundHandler", (Handler,), {"platform": platform})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    by_hand = Platform(states=["queued", "running", "running", "delivered"])
    by_hand.pools[POOL] = new_pool("west", "ningxia")
    with serving(by_hand, 8765) as address:
        print(address, KEY, flush=True)
        threading.Event().wait()

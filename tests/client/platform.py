"""A small platform in the test's own process: real HTTP, what the client uses of docs/api.md, faults on demand.

`python -m tests.client` serves it, to look at the command line by hand.
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

"""A small platform that speaks docs/protocol.md over real HTTP, in the test's own process."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]


class Refusal(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.status, self.body = status, {"status": status, "code": code, "title": code, "detail": code, **fields}


class Platform:
    """State of the fake platform; tests read and change it freely. `guard` protects it."""

    def __init__(self, lease_s: float = 60.0) -> None:
        self.guard = threading.Condition()
        self.lease_s = lease_s
        self.tokens = {"good": "unused"}
        self.agents: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.partial: dict[str, bytearray] = {}
        self.specs: dict[str, Json] = {}
        self.waiting: list[list[Any]] = []
        self.live: dict[Any, list[Any]] = {}
        self.session: str | None = None
        self.given: set[Any] = set()
        self.stops: list[list[Any]] = []
        self.reports: dict[Any, Json] = {}
        self.batches: list[Json] = []
        self.refused: list[list[Any]] = []
        self.commitments: dict[Any, str] = {}
        self.asks: set[Any] = set()
        self.chain: tuple[int, str] = (0, "")
        self.logs: dict[tuple[str, str], bytearray] = {}
        self.syncs: list[Json] = []
        self.selftests: list[Json] = []
        self.requests: list[tuple[str, str]] = []
        self.next_attempt = 1
        self.drain = False
        self.reclaim_at: float | None = None
        self.checkpoints: list[Json] = []
        self.keep_syncs = True
        self.wished: dict[str, int] = {}
        self.on_range: Callable[[str], Any] = lambda text: None
        self.probe_orders: Any = None
        self.probes: list[Json] = []
        self.before_answer: Callable[[str, str], None] = lambda method, path: None
        self.after_work: Callable[[str, str], bool] = lambda method, path: True
        self.clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()

    # -- what tests say -----------------------------------------------------------------------------------------

    def store(self, content: bytes) -> Json:
        """Keep a blob; returns its reference."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"sha256": digest, "bytes": len(content)}

    def keep(self, blob: Json) -> None:
        """Wish for a copy."""
        with self.guard:
            self.wished[blob["sha256"]] = blob["bytes"]

    def offer(
        self, spec: Json, count: int = 1, files: Any = None, params: Any = None, resume: list[Json] | None = None
    ) -> list[int]:
        """Units of a spec, waiting; returns their attempts."""
        with self.guard:
            self.specs[spec["id"]] = spec
            first = self.next_attempt
            self.next_attempt += count
            for attempt in range(first, self.next_attempt):
                self.waiting.append([attempt, 1, spec["id"], attempt - first, params, files, *([resume] if resume else [])])
            self.guard.notify_all()
            return list(range(first, self.next_attempt))

    def stop(self, attempt: Any, why: str = "user_cancel") -> None:
        """Ask the agent to end an attempt."""
        with self.guard:
            self.stops.append([attempt, self.live[attempt][1], why])
            self.guard.notify_all()

    def until(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        """Wait until a condition on this state holds; fails the test when it does not."""
        ends = time.monotonic() + timeout_s
        with self.guard:
            while not (value := condition()):
                left = ends - time.monotonic()
                assert left > 0, f"waited {timeout_s} s in vain; reports: {list(self.reports.values())[:5]}"
                self.guard.wait(min(left, 0.05))
            return value

    def report_of(self, attempt: Any, timeout_s: float = 20.0) -> Json:
        """The report of an attempt, waited for."""
        report: Json = self.until(lambda: self.reports.get(attempt), timeout_s)
        return report

    def log_of(self, attempt: Any, stream: str = "stdout") -> bytes:
        """What arrived of a stream."""
        return bytes(self.logs.get((str(attempt), stream), b""))

    # -- the protocol -------------------------------------------------------------------------------------------

    def enrol(self, body: Json) -> Json:
        """Enrolment by token."""
        if self.tokens.get(body["token"]) != "unused":
            raise Refusal(403, "token_used" if body["token"] in self.tokens else "token_unknown")
        self.tokens[body["token"]] = "used"
        key = base64.b64decode(body["public_key"])
        name = "agent-" + hashlib.sha256(key).hexdigest()[:8]
        self.agents[name] = key
        pool = {"identifier": "CN-44-G-0001-7", "name": "bob's pool", "state": "enrolled"}
        return {"agent_id": name, "pool": pool, "server_time_ms": self.clock_ms(), "lease_s": self.lease_s}

    def check_signature(self, header: str, method: str, target: str, body: bytes) -> None:
        """Verify the Authorization header as the document says."""
        scheme, _, rest = header.partition(" ")
        name, moment, signature = rest.split(":")
        if scheme != "Gridfare" or name not in self.agents:
            raise Refusal(401, "agent_unknown")
        if abs(int(moment) - self.clock_ms()) > 120_000:
            raise Refusal(401, "clock_skew", server_time_ms=self.clock_ms())
        hashed = "-" if target.startswith("/agent/v1/blobs/") else hashlib.sha256(body).hexdigest()
        text = f"{method}\n{target}\n{moment}\n{hashed}".encode()
        try:
            key = Ed25519PublicKey.from_public_bytes(self.agents[name])
            key.verify(base64.b64decode(signature), text)
        except InvalidSignature:
            raise Refusal(401, "signature_wrong") from None

    def sync(self, body: Json) -> Json:
        """One batch in both directions."""
        with self.guard:
            if self.keep_syncs:
                self.syncs.append(body)
            accepted = self._adopt(body["reports"])
            self.probes += body.get("probes", [])
            self._compare(body)
            ends = time.monotonic() + body["wait_s"]
            while not (accepted or self.stops or self.refused or (self.waiting and body["want"])):
                left = ends - time.monotonic()
                if left <= 0:
                    break
                self.guard.wait(left)
            return self._answer(body, accepted)

    def _adopt(self, batch: Json | None) -> int | None:
        """Check the chain and the signature, keep the reports."""
        if batch is None:
            return None
        items = batch["items"]
        text = json.dumps(items, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256((batch["prev"] + text).encode()).hexdigest()
        assert digest == batch["digest"], "the digest is wrong"
        key = Ed25519PublicKey.from_public_bytes(next(iter(self.agents.values())))
        key.verify(base64.b64decode(batch["signature"]), digest.encode())
        if batch["seq"] != self.chain[0]:
            assert (batch["seq"], batch["prev"]) == (self.chain[0] + 1, self.chain[1]), "the chain is broken"
            self.chain = (batch["seq"], digest)
            self.batches.append(batch)
            for item in items:
                self._adopt_item(item)
            self.guard.notify_all()
        return int(batch["seq"])

    def _adopt_item(self, item: Json) -> None:
        lease = self.live.get(item["attempt"])
        if lease is None or lease[1] != item["fence"]:
            self.refused.append([item["attempt"], item["fence"], "stale_lease"])
            return
        if item["outcome"] == "committed":
            self.commitments[item["attempt"]] = item["commitment"]
            return
        del self.live[item["attempt"]]
        self.reports[item["attempt"]] = item

    def _compare(self, body: Json) -> None:
        """Keep, kill, or send again."""
        named = {row[0] for row in body["held"]}
        if body["session"] != self.session:
            self.session, self.given = body["session"], set()
            for attempt in [attempt for attempt in self.live if attempt not in named]:
                del self.live[attempt]
        for attempt, fence, *_ in body["held"]:
            if attempt not in self.live or self.live[attempt][1] != fence:
                self.stops.append([attempt, fence, "stale_lease"])
        lost = [row for attempt, row in self.live.items() if attempt not in named and attempt in self.given]
        self.waiting[:0] = lost

    def _answer(self, body: Json, accepted: int | None) -> Json:
        leases, self.waiting = self.waiting[: body["want"]], self.waiting[body["want"] :]
        for row in leases:
            self.live[row[0]] = row
            self.given.add(row[0])
        stops, self.stops = self.stops, []
        refused, self.refused = self.refused, []
        orders = {"probe": self.probe_orders} if "probes" in body and self.probe_orders is not None else {}
        if "store" in body:
            orders["store"] = self._store_orders(body["store"])
        return orders | {
            "server_time_ms": self.clock_ms(),
            "lease_s": self.lease_s,
            "next_s": 0,
            "accepted": accepted,
            "refused": refused,
            "stop": stops,
            "reveal": [row[:2] for row in body["held"] if row[0] in self.asks and row[2] == "committed"],
            "drain": self.drain,
            "reclaim_in_s": None if self.reclaim_at is None else max(self.reclaim_at - time.monotonic(), 0),
            "checkpoint": [] if self.reclaim_at is None else [[row[0], row[1]] for row in self.live.values()],
            "specs": {name: self.specs[name] for name in {row[2] for row in leases}},
            "leases": leases,
        }

    def _store_orders(self, store: Json) -> Json:
        """What is wished for and not there, and the other way round; what failed is not asked for again."""
        for sha256, _ in store["failed"]:
            self.wished.pop(sha256, None)
        keep = [[sha256, size, 0] for sha256, size in self.wished.items() if sha256 not in store["kept"]]
        return {"keep": keep, "drop": [sha256 for sha256 in store["kept"] if sha256 not in self.wished]}

    def take_logs(self, body: Json) -> Json:
        """Append chunks that continue what is there."""
        acked = []
        with self.guard:
            for chunk in body["chunks"]:
                stored = self.logs.setdefault((str(chunk["attempt"]), chunk["stream"]), bytearray())
                if chunk["offset"] == len(stored):
                    stored += base64.b64decode(chunk["data"])
                acked.append([chunk["attempt"], chunk["stream"], len(stored)])
            self.guard.notify_all()
        return {"acked": acked}

    def blob_scope(self, path: str) -> str:
        """The hash that a blob path names, for a live attempt."""
        attempt, _, rest = path.removeprefix("/agent/v1/blobs/").partition("/")
        if attempt == "store":
            if rest not in self.blobs:
                raise Refusal(404, "replica_unknown")
            return rest
        fence, digest = rest.split("/")
        live = {(str(row[0]), str(row[1])) for row in self.live.values()}
        if (attempt, fence) not in live:
            raise Refusal(409, "stale_lease")
        return digest

    def store_part(self, digest: str, content: bytes, content_range: str | None) -> tuple[int, dict[str, str]]:
        """A PUT, whole or in part."""
        if digest in self.blobs:
            return 200, {}
        stored = self.partial.setdefault(digest, bytearray())
        total = len(content)
        if content_range:
            first, total = int(content_range.split()[1].split("-")[0]), int(content_range.split("/")[1])
            if first != len(stored):
                raise Refusal(409, "offset_mismatch")
        else:
            stored.clear()
        stored += content
        if len(stored) < total:
            return 202, {"Upload-Offset": str(len(stored))}
        whole = bytes(self.partial.pop(digest))
        if hashlib.sha256(whole).hexdigest() != digest:
            raise Refusal(422, "hash_mismatch")
        self.blobs[digest] = whole
        return 201, {}


def handler_for(platform: Platform) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of a platform."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *words: Any) -> None:
            pass

        def handle_call(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            platform.requests.append((self.command, self.path))
            try:
                platform.before_answer(self.command, self.path)
                if self.path != "/agent/v1/enrol" and self.path.startswith("/agent/"):
                    header = self.headers.get("Authorization", "")
                    platform.check_signature(header, self.command, self.path, body)
                status, headers, content = self.route(body)
            except Refusal as refusal:
                status, headers, content = refusal.status, {}, json.dumps(refusal.body).encode()
            if not platform.after_work(self.command, self.path):
                self.close_connection = True
                self.connection.close()
                return
            self.answer(status, headers, content)

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def route(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            if self.path.startswith("/agent/v1/blobs/"):
                return self.blob(body)
            if self.path == "/agent/v1/enrol":
                return 201, {}, json.dumps(platform.enrol(json.loads(body))).encode()
            if self.path == "/agent/v1/sync":
                return 200, {}, json.dumps(platform.sync(json.loads(body))).encode()
            if self.path == "/agent/v1/probe":
                return 200, {}, os.urandom(json.loads(body)["bytes"])
            if self.path == "/elsewhere":
                first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
                return 206, {}, os.urandom(last - first + 1)
            if self.path == "/agent/v1/logs":
                return 200, {}, json.dumps(platform.take_logs(json.loads(body))).encode()
            if self.path == "/agent/v1/checkpoints":
                with platform.guard:
                    platform.checkpoints += json.loads(body)["checkpoints"]
                    platform.guard.notify_all()
                return 200, {}, b'{"refused": []}'
            if self.path == "/agent/v1/selftest":
                platform.selftests.append(json.loads(body))
                return 200, {}, b'{"pool_state": "active"}'
            return 200, {}, b"{}"

        def blob(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            with platform.guard:
                digest = platform.blob_scope(self.path)
                if self.command == "GET":
                    return self.get_blob(platform.blobs[digest])
                if self.command == "HEAD":
                    stored = len(platform.partial.get(digest, b""))
                    complete = "?1" if digest in platform.blobs else "?0"
                    return 200, {"Upload-Offset": str(stored), "Upload-Complete": complete}, b""
                status, headers = platform.store_part(digest, body, self.headers.get("Content-Range"))
                return status, headers, b""

        def get_blob(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
            wanted = self.headers.get("Range")
            platform.on_range(wanted or "")
            if not wanted:
                return 200, {}, content
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            return 206, {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}, content[first:]

        do_GET = do_POST = do_PUT = do_HEAD = handle_call

    return Handler


def spec(run: list[str], **changes: Any) -> Json:
    """A trusted spec that needs one core; ``changes`` replace its fields, ``limits`` are merged."""
    limits = {
        "run_s": 30,
        "memory_mib": 256,
        "processes": 32,
        "file_mib": 64,
        "disk_mib": 64,
        "output_mib": 32,
        "log_kib": 64,
        "grace_s": 1,
        **changes.pop("limits", {}),
    }
    need = {"cores": 1, "memory_mib": 64, "disk_mib": 16, "accelerators": []}
    head = {"id": f"spec-{hashlib.sha256(repr((run, changes, limits)).encode()).hexdigest()[:8]}"}
    base = {
        "task": "6a1f0c1e-0000-4000-8000-000000000001",
        "stage": "unit",
        "total": 1,
        "capability": "carol/try@1.0.0",
        "trusted": True,
        "program": None,
        "environment": None,
        "run": run,
        "env": {},
        "inputs": {},
        "files": [],
        "outputs": [],
    }
    return {**head, **base, "limits": limits, "need": need, **changes}

"""Signed requests of agents: `Authorization: Gridfare <agent_id>:<unix_ms>:<base64 signature>`.

docs/protocol.md says what is signed. One indexed query per request. Parsed public keys stay in the process,
by their text: the row decides each time which key is the agent's, so a retired agent is out at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.errors import Unauthorized
from marketplace.models import Agent

SKEW_MS: Final = 120_000
BLOBS: Final = "/agent/v1/blobs/"
_HEADER: Final = re.compile(r"^Gridfare ([0-9a-f-]{32,36}):(\d{1,15}):([A-Za-z0-9+/]{86}==)$")


@dataclass(frozen=True)
class Signature:
    """What the header says."""

    agent_id: UUID
    unix_ms: int
    signature: bytes


def authenticate(method: str, path_with_query: str, headers: Mapping[str, str], body: bytes | None) -> Agent:
    """The live agent that signed this request, its pool loaded.

    `path_with_query` as sent, without the host; `body` is not looked at on the blobs' paths.
    Raises Unauthorized `signature_missing | signature_invalid | clock_skew | agent_unknown | agent_retired`.
    """
    claim = read_header(headers.get("Authorization", ""))
    _refuse_skew(claim)
    agent = Agent.objects.select_related("pool").filter(pk=claim.agent_id).first()
    if agent is None:
        raise Unauthorized("agent_unknown", "no such agent; enrol it first")
    check_signature(agent, claim, signed_text(method, path_with_query, claim.unix_ms, body))
    if agent.retired_at is not None:
        raise Unauthorized("agent_retired", "another agent serves this pool now")
    return agent


def read_header(header: str) -> Signature:
    """Parse the header, or raise Unauthorized `signature_missing`."""
    match = _HEADER.match(header)
    try:
        agent_id = UUID(match[1]) if match else None
    except ValueError:
        agent_id = None
    if match is None or agent_id is None:
        raise Unauthorized("signature_missing", "the request carries no agent's signature")
    return Signature(agent_id, int(match[2]), base64.b64decode(match[3]))


def signed_text(method: str, path_with_query: str, unix_ms: int, body: bytes | None) -> bytes:
    """The bytes that are signed: method, path, time and the body's hash (`-` for blobs), a line each."""
    content = "-" if path_with_query.startswith(BLOBS) else hashlib.sha256(body or b"").hexdigest()
    return f"{method}\n{path_with_query}\n{unix_ms}\n{content}".encode()


def check_signature(agent: Agent, claim: Signature, text: bytes) -> None:
    """Raise Unauthorized `signature_invalid` unless the agent's key made this signature."""
    try:
        public_key(agent.public_key).verify(claim.signature, text)
    except InvalidSignature:
        raise Unauthorized("signature_invalid", "the signature does not fit the request") from None


@lru_cache(maxsize=10_000)
def public_key(text: str) -> Ed25519PublicKey:
    """Parse base64 of 32 raw bytes; ValueError when it is something else."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _refuse_skew(claim: Signature) -> None:
    now = time.time_ns() // 1_000_000
    if abs(now - claim.unix_ms) > SKEW_MS:
        detail = "the agent's clock is more than two minutes off; add the offset and repeat"
        raise Unauthorized("clock_skew", detail, server_time_ms=now)

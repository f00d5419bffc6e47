"""Bytes that the platform itself writes into the store: manifests of results, indexes of merges."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace import storage
from marketplace.services.artifacts import register_blobs


@dataclass(frozen=True)
class Stored:
    sha256: str
    bytes: int


def store_bytes(content: bytes) -> Stored:
    """Put content into the store and the books. Safe to repeat: equal content is one blob."""
    sha256 = storage.put_bytes(content)
    register_blobs([(sha256, len(content))], None)
    return Stored(sha256, len(content))

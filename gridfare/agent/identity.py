"""The agent's Ed25519 key: made once, kept in its home, never sent anywhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridfare.agent.files import write_atomically


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair that signs requests and report batches."""

    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """Base64 of the 32 raw bytes."""
        raw = self.key.public_key().public_bytes_raw()
        return base64.b64encode(raw).decode()

    def sign(self, text: str) -> str:
        """Base64 signature over the UTF-8 bytes of ``text``."""
        return base64.b64encode(self.key.sign(text.encode())).decode()


def load_identity(path: Path) -> Identity:
    """Read the key; raises FileNotFoundError, or ValueError when the file holds another kind of key."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds a key that is not Ed25519")
    return Identity(key)


def load_or_create_identity(path: Path) -> Identity:
    """Read the key or make one; the file is readable by its owner only."""
    if path.exists():
        return load_identity(path)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomically(path, pem, mode=0o600)
    return Identity(key)


def body_hash(body: bytes) -> str:
    """Lower-case hex SHA-256, as the request signature wants it."""
    return hashlib.sha256(body).hexdigest()


def request_text(method: str, target: str, unix_ms: int, hashed: str) -> str:
    """The text that a request's signature covers; ``target`` is the path with its query."""
    return f"{method}\n{target}\n{unix_ms}\n{hashed}"

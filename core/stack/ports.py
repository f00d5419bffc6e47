"""Where the web server listens."""

import socket

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
TRIED = 100


class PortError(RuntimeError):
    """No port can be had. The message is written for the person at the terminal."""


def choose_port(asked: str) -> int:
    """The port that was asked for, or without one the first free from 8000. Raises PortError."""
    if not asked:
        return _first_free()
    if not asked.isdecimal() or not 0 < int(asked) < 65536:
        raise PortError(f"PORT must be a number from 1 to 65535, not {asked!r}.")
    if not is_free(int(asked)):
        raise PortError(f"Port {asked} is in use by another program. Choose one: make up PORT={_first_free()}")
    return int(asked)


def is_free(port: int) -> bool:
    """Whether a server may listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _first_free() -> int:
    for port in range(DEFAULT_PORT, DEFAULT_PORT + TRIED):
        if is_free(port):
            return port
    raise PortError(f"All ports from {DEFAULT_PORT} to {DEFAULT_PORT + TRIED - 1} are in use.")

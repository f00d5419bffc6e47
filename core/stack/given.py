"""Servers that others run, named by DATABASE_URL and REDIS_URL: tried before anything is started against them."""

from urllib.parse import urlsplit

import psycopg
import redis

from core.embedded import EmbeddedError

SECONDS = 5
TRIED_WITH = 18  # the major version of PostgreSQL that is embedded, and that the tests run on


def check_given(variable: str, url: str) -> str:
    """Connects to the server that the variable names and returns a line about it. Raises EmbeddedError.

    Neither the line nor the error shows the password.
    """
    try:
        return _CHECKS[variable](url)
    except (psycopg.Error, redis.RedisError, ValueError) as error:
        raise EmbeddedError(f"{variable} names a server that cannot be used ({_place(url)}): {str(error).strip()}") from None


def _check_postgres(url: str) -> str:
    with psycopg.connect(url, connect_timeout=SECONDS) as connection:
        version = connection.info.server_version // 10_000
    older = f", older than the {TRIED_WITH} that Gridfare is tried with" if version < TRIED_WITH else ""
    return f"PostgreSQL {version} is the one of DATABASE_URL{older}"


def _check_redis(url: str) -> str:
    with redis.Redis.from_url(url, socket_connect_timeout=SECONDS, socket_timeout=SECONDS) as client:
        version = client.info("server")["redis_version"]
    return f"Redis {version} is the one of REDIS_URL"


def _place(url: str) -> str:
    parts = urlsplit(url)
    return parts.scheme + "://" + parts.netloc.rpartition("@")[2] + parts.path


_CHECKS = {"DATABASE_URL": _check_postgres, "REDIS_URL": _check_redis}

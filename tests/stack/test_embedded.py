"""The embedded servers: quick to find, hard to kill."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis as redis_client

from core.embedded import ensure, servers, stop
from core.embedded.postgres import SOCKET_PATH_LIMIT
from core.embedded.process import gone, wait_until


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop(tmp_path)


def test_postgres_killed_in_the_middle_comes_back_with_its_data(data: Path) -> None:
    url = ensure(data, only=["postgres"]).database_url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    kill(postgres_pid(data))

    assert ensure(data, only=["postgres"]).database_url == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_lock_that_now_names_a_strangers_process_is_cleared(data: Path) -> None:
    ensure(data, durable=False, only=["postgres"])
    lock = data / "postgres" / "postmaster.pid"
    text = lock.read_text()
    stop(data)
    lock.write_text(text.replace(text.splitlines()[0], str(os.getpid()), 1))

    url = ensure(data, durable=False, only=["postgres"]).database_url
    assert psycopg.connect(url).execute("SELECT 1").fetchone() == (1,)


def test_a_path_too_long_for_a_socket_still_works(data: Path) -> None:
    deep = data / ("folder-" * 8) / ("folder-" * 8)
    assert len(str(deep / "postgres" / ".s.PGSQL.5432")) > SOCKET_PATH_LIMIT
    try:
        url = ensure(deep, durable=False, only=["postgres"]).database_url
        assert psycopg.connect(url).execute("SELECT 1").fetchone() == (1,)
    finally:
        stop(deep)


def test_postgres_has_no_door_for_other_users(data: Path) -> None:
    ensure(data, durable=False, only=["postgres"])
    postgres, _ = servers(data)
    assert postgres.socket_folder.stat().st_mode & 0o077 == 0
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_redis_killed_comes_back_at_the_same_address(data: Path) -> None:
    url = ensure(data, only=["redis"]).redis_url
    kill(int((data / "redis" / "redis.pid").read_text()))

    assert ensure(data, only=["redis"]).redis_url == url
    assert redis_client.Redis.from_url(url).ping()


def test_redis_whose_port_was_taken_moves_to_another(data: Path) -> None:
    url = ensure(data, only=["redis"]).redis_url
    stop(data)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port_of(url)))
        stranger.listen()
        moved = ensure(data, only=["redis"]).redis_url
    assert port_of(moved) != port_of(url)
    assert redis_client.Redis.from_url(moved).ping()


def test_redis_answers_nobody_without_the_password(data: Path) -> None:
    url = ensure(data, only=["redis"]).redis_url
    with pytest.raises(redis_client.AuthenticationError):
        redis_client.Redis(port=port_of(url)).ping()


def test_a_full_redis_refuses_instead_of_dropping(data: Path) -> None:
    client = redis_client.Redis.from_url(ensure(data, only=["redis"]).redis_url)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def postgres_pid(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not psutil.pid_exists(pid) or gone(psutil.Process(pid)), 5)

"""Requests share kept connections: each has a thread of its own, and would else make a connection of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.stack import plan

ASKED = "from django.conf import settings; d = settings.DATABASES['default']; print('pool' in d['OPTIONS'], d['CONN_MAX_AGE'])"
SERVERS = {"web": (f"import config.asgi; {ASKED}", "True 0"), "worker": (f"import config.celery; {ASKED}", "False None")}


@pytest.mark.parametrize("server", SERVERS)
def test_the_web_server_pools_and_the_worker_keeps_its_own(server: str) -> None:
    program, expected = SERVERS[server]
    urls = {"DATABASE_URL": "postgresql:///none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=plan.working_folder(), env=os.environ | urls, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == expected

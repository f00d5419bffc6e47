"""The web server and the worker do not look again and again at what was loaded at their start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.stack import plan

WORKER = "from config import celery; celery.app.loader.init_worker(); celery.worker_init.send(sender=None)"  # as a worker begins
SERVERS = {"web": "import config.asgi", "worker": WORKER}


@pytest.mark.parametrize("server", SERVERS)
def test_what_was_loaded_is_left_to_rest(server: str) -> None:
    program = f"import gc\n{SERVERS[server]}\nprint(gc.get_freeze_count() > 50_000, gc.get_threshold())"
    urls = {"DATABASE_URL": "postgresql:///none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=plan.working_folder(), env=os.environ | urls, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True (10000, 20, 50)\n"

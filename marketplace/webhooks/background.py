"""The sender of a worker's process: one thread beside its jobs, so that slow receivers never take a job's place.

A process that ends lets it finish what is under way; one that is killed loses only its claims, which run out.
"""

from __future__ import annotations

import logging
import threading

from celery.signals import worker_process_shutdown
from django.db import connection

from marketplace.webhooks.sending import TIMEOUT_S, Sender

log = logging.getLogger(__name__)


class Background:
    """At most one thread that sends. A call while it runs makes it look once more before it ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.sender: Sender | None = None
        self.again = False

    def start(self) -> None:
        """Send what is due, from now on, and return."""
        with self.lock:
            self.again = True
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        try:
            while self._wanted():
                self.sender = Sender()
                self.sender.run()
        except Exception:
            log.exception("sending webhooks broke off; the sweep begins again")
            with self.lock:
                self.thread = None
        finally:
            connection.close()

    def _wanted(self) -> bool:
        """Whether to look (again); when not, the thread is over and the next call makes another."""
        with self.lock:
            wanted, self.again = self.again, False
            if not wanted:
                self.thread = None
            return wanted

    def stop(self) -> None:
        """Claim nothing more, and wait for what is under way."""
        with self.lock:
            thread, sender, self.again = self.thread, self.sender, False
        if sender is not None:
            sender.stop()
        if thread is not None:
            thread.join(TIMEOUT_S + 1)


background = Background()


def _end(**_: object) -> None:
    background.stop()


worker_process_shutdown.connect(_end)

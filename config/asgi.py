"""The ASGI application served by `uvicorn config.asgi:application`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from config.cut_uploads import keeping_cut_uploads
from config.long_polls import allow_many_connections, holding_without_threads
from core.collector import let_rest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("GRIDFARE_DATABASE_POOL", "50")  # a request has a thread of its own, and else a connection of its own

allow_many_connections()
application = holding_without_threads(keeping_cut_uploads(get_asgi_application()))
get_resolver().url_patterns  # noqa: B018  loads the views now, not with the first request
let_rest()

"""Unfold with our site of the admin in the place of its own."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin import sites
from unfold.apps import BasicAppConfig


class OperatorsConfig(BasicAppConfig):
    """Stands for `unfold` in INSTALLED_APPS."""

    def ready(self) -> None:
        from config.admin_site import OperatorsSite

        admin.site = sites.site = OperatorsSite()

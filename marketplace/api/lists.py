"""The base of every list: rows scoped to the caller, in keyset pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from django.db.models import QuerySet
from rest_framework import generics

from marketplace.auth import Caller, caller_of
from marketplace.models import Organization


class ListView(generics.ListAPIView[Any], ABC):
    """A subclass says which rows a caller may see: `rows(caller)`, mostly one call into `queries`."""

    @abstractmethod
    def rows(self, caller: Caller) -> QuerySet[Any]:
        """The rows this caller may see."""

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the API's description is drawn without a caller
            return Organization.objects.none()
        return self.rows(caller_of(self.request))

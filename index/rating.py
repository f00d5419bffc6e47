"""Users rate what was delivered to them."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from core.errors import Conflict, NotFound
from index.models import TaskRating
from marketplace.models import Organization, Task, User


def rate_task(organization: Organization, task: UUID, stars: int, comment: str, by: User) -> TaskRating:
    """Keep what the organization says of its task; said again it replaces. NotFound `not_found`, Conflict `task_not_delivered`."""
    found = Task.objects.filter(pk=task, organization=organization).first()
    if found is None:
        raise NotFound("not_found", "no such task")
    if found.state != Task.State.DELIVERED:
        raise Conflict("task_not_delivered", "only what was delivered is rated", state=found.state)
    said = {"stars": stars, "comment": comment, "rated_by": by, "rated_at": timezone.now()}
    rating, _ = TaskRating.objects.update_or_create(task=found, defaults=said | {"organization": organization})
    return rating

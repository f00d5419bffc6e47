"""The marketplace in the operators' pages: parties, providers, capabilities, files, tasks."""

from marketplace.admin import artifacts, capabilities, parties, providers, tasks, webhooks

__all__ = ["artifacts", "capabilities", "parties", "providers", "tasks", "webhooks"]

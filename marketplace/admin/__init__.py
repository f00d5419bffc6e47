"""The marketplace in the operators' pages: parties, providers, capabilities, files, tasks."""

from marketplace.admin import artifacts, capabilities, credit, parties, providers, tasks, webhooks

__all__ = ["artifacts", "capabilities", "credit", "parties", "providers", "tasks", "webhooks"]

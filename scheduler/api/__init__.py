"""The scheduler's doors: tasks for users, sync for agents. No rules in here."""

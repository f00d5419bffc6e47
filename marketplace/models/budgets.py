"""Budgets: what a part of an organization may spend, and what happens on the way there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Budget(models.Model):
    """An amount for the tasks of a scope, per month or in all, with thresholds that each do something.

    scope       organization; project (tasks whose label `project` is `project`); user; key; task
    spent       charged in the period that begins at `period_start`; a month that is over counts as nothing (`zone`'s months)
    held        for tasks of the scope that are not charged yet, whatever the period
    thresholds  [{percent, action}], action: notify | block | pause | stop (marketplace/budgets.py)

    Scope, currency and period never change; a budget that is no longer wanted is closed and stays as a row.
    """

    class Scope(models.TextChoices):
        ORGANIZATION = "organization"
        PROJECT = "project"
        USER = "user"
        KEY = "key"
        TASK = "task"

    class Period(models.TextChoices):
        MONTH = "month"
        TOTAL = "total"

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="budgets", db_index=False)
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=12, choices=Scope.choices)
    project = models.CharField(max_length=200, blank=True, default="")
    user = models.ForeignKey("User", models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    api_key = models.ForeignKey("ApiKey", models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    task = models.ForeignKey("Task", models.CASCADE, null=True, blank=True, related_name="budgets", db_index=False)
    currency = models.CharField(max_length=3)
    period = models.CharField(max_length=5, choices=Period.choices)
    zone = models.CharField(max_length=50, help_text="IANA; whose months are meant")
    period_start = models.DateTimeField(help_text="charges from then on are counted")
    amount_micros = models.BigIntegerField()
    thresholds = models.JSONField(help_text="[{percent, action}]")
    spent_micros = models.DecimalField(max_digits=40, decimal_places=0, default=0)
    held_micros = models.DecimalField(max_digits=40, decimal_places=0, default=0)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="budget_has_an_amount"),
            models.CheckConstraint(
                condition=Q(scope="project", project__gt="") | ~Q(scope="project") & Q(project=""),
                name="budget_of_a_project_names_it",
            ),
            models.CheckConstraint(condition=Q(scope="user") | Q(user__isnull=True), name="budget_of_a_user"),
            models.CheckConstraint(condition=Q(scope="key") | Q(api_key__isnull=True), name="budget_of_a_key"),
            models.CheckConstraint(
                condition=Q(scope="task", task__isnull=False) | ~Q(scope="task") & Q(task__isnull=True), name="budget_of_a_task"
            ),
        ]
        indexes: ClassVar = [
            # every submit and every charge
            models.Index(fields=["organization", "currency"], condition=Q(closed_at__isnull=True), name="budget_open")
        ]

    def __str__(self) -> str:
        return self.name


class BudgetAlert(models.Model):
    """A threshold that was reached: once per budget, period and threshold."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="alerts", db_index=False)
    period_start = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=6)
    amount_micros = models.BigIntegerField(help_text="the budget's, at that time")
    spent_micros = models.DecimalField(max_digits=40, decimal_places=0)
    held_micros = models.DecimalField(max_digits=40, decimal_places=0)
    raised_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["budget", "period_start", "percent", "action"], name="alert_once_per_period"
            )
        ]

    def __str__(self) -> str:
        return f"{self.budget_id}: {self.percent} % reached"

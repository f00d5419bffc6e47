"""Who may ask, who provides, what can be run, what was asked, what was delivered."""

from marketplace.models.accounts import ApiKey, Membership, Organization, User
from marketplace.models.artifacts import Artifact, Blob, BlobPlace, Upload
from marketplace.models.availability import CachedBlob, MaintenanceWindow
from marketplace.models.budgets import Budget, BudgetAlert
from marketplace.models.capabilities import Capability, CapabilityVersion
from marketplace.models.contracts import Contract
from marketplace.models.credit import Allowance, CreditAlarm, Hold, SpendBlock, TaskPause
from marketplace.models.providers import Agent, JoinToken, Offer, Pool, Rate, Region
from marketplace.models.replicas import Pin, Replica
from marketplace.models.tasks import Result, Task, TaskArtifact, TaskEvent, TaskReference
from marketplace.models.webhooks import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookSecret, WebhookTry

__all__ = [
    "Agent",
    "Allowance",
    "ApiKey",
    "Artifact",
    "Blob",
    "BlobPlace",
    "Budget",
    "BudgetAlert",
    "CachedBlob",
    "Capability",
    "CapabilityVersion",
    "Contract",
    "CreditAlarm",
    "Hold",
    "JoinToken",
    "MaintenanceWindow",
    "Membership",
    "Offer",
    "Organization",
    "Pin",
    "Pool",
    "Rate",
    "Region",
    "Replica",
    "Result",
    "SpendBlock",
    "Task",
    "TaskArtifact",
    "TaskEvent",
    "TaskPause",
    "TaskReference",
    "Upload",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookSecret",
    "WebhookTry",
]

"""FOCUS 1.2's columns as data, and ours after them. Source: FinOps Open Cost and Usage Specification 1.2, "Columns".

Writers take names and types from here, `checks.py` takes rules from here, so that they cannot say different things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Where a column must be null or must have a value, by (ChargeCategory in), unless the row is a correction.
PRICED: Final = frozenset({"Usage", "Purchase"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    kind      text | ascii | integer | number | decimal | moment | json; `ascii` is text that the public validator wants in ASCII,
              a number has at most 12 places, a decimal at most 21
    level     mandatory | recommended | conditional | ours
    nullable  may be null at all
    criterion under which a conditional column is asked for
    allowed   the values that it may have; none: any
    rule      "" | priced: with a value for Usage and Purchase that are no corrections, null for Tax
              | unpriced_tax: null for Tax | usage_only: null but for Usage
    at_least  the smallest number that it may be, where there is one
    """

    name: str
    kind: str
    level: str
    nullable: bool = True
    criterion: str = ""
    allowed: frozenset[str] = frozenset()
    rule: str = ""
    at_least: int | None = None


def _column(name: str, kind: str, level: str, traits: str = "", allowed: str = "") -> Column:
    """`traits` are words: `filled`, `positive`, a rule, or a criterion in capitals. `allowed` is split at semicolons."""
    words = set(traits.split())
    rule = next((word for word in ("priced", "unpriced_tax", "usage_only") if word in words), "")
    criterion = next((word for word in words if word.isupper()), "")
    values = frozenset(value.strip() for value in allowed.split(";") if value.strip())
    return Column(name, kind, level, "filled" not in words, criterion, values, rule, 0 if "positive" in words else None)


_CATEGORIES: Final = (
    "AI and Machine Learning; Analytics; Business Applications; Compute; Databases; Developer Tools; Multicloud; Identity; "
    "Integration; "
    "Internet of Things; Management and Governance; Media; Migration; Mobile; Networking; Security; Storage; Web; Other"
)
COLUMNS: Final = (
    _column("AvailabilityZone", "ascii", "recommended", "AVAILABILITY_ZONE"),
    _column("BilledCost", "decimal", "mandatory", "filled"),
    _column("BillingAccountId", "ascii", "mandatory", "filled"),
    _column("BillingAccountName", "ascii", "mandatory"),
    _column("BillingAccountType", "ascii", "conditional", "MULTIPLE_BILLING_ACCOUNT_TYPES"),
    _column("BillingCurrency", "ascii", "mandatory", "filled"),
    _column("BillingPeriodEnd", "moment", "mandatory", "filled"),
    _column("BillingPeriodStart", "moment", "mandatory", "filled"),
    _column("CapacityReservationId", "ascii", "conditional", "CAPACITY_RESERVATION"),
    _column("CapacityReservationStatus", "ascii", "conditional", "CAPACITY_RESERVATION", "Used; Unused"),
    _column("ChargeCategory", "ascii", "mandatory", "filled", "Usage; Purchase; Tax; Credit; Adjustment"),
    _column("ChargeClass", "ascii", "mandatory", "", "Correction"),
    _column("ChargeDescription", "ascii", "mandatory"),
    _column("ChargeFrequency", "ascii", "recommended", "filled", "One-Time; Recurring; Usage-Based"),
    _column("ChargePeriodEnd", "moment", "mandatory", "filled"),
    _column("ChargePeriodStart", "moment", "mandatory", "filled"),
    _column("CommitmentDiscountCategory", "ascii", "conditional", "COMMITMENT_DISCOUNT", "Spend; Usage"),
    _column("CommitmentDiscountId", "ascii", "conditional", "COMMITMENT_DISCOUNT"),
    _column("CommitmentDiscountName", "ascii", "conditional", "COMMITMENT_DISCOUNT"),
    _column("CommitmentDiscountQuantity", "decimal", "conditional", "COMMITMENT_DISCOUNT"),
    _column("CommitmentDiscountStatus", "ascii", "conditional", "COMMITMENT_DISCOUNT", "Used; Unused"),
    _column("CommitmentDiscountType", "ascii", "conditional", "COMMITMENT_DISCOUNT"),
    _column("CommitmentDiscountUnit", "ascii", "conditional", "COMMITMENT_DISCOUNT"),
    _column("ConsumedQuantity", "decimal", "conditional", "USAGE_MEASUREMENT usage_only"),
    _column("ConsumedUnit", "ascii", "conditional", "USAGE_MEASUREMENT usage_only"),
    _column("ContractedCost", "decimal", "mandatory", "filled"),
    _column("ContractedUnitPrice", "decimal", "conditional", "NEGOTIATED_PRICING priced positive"),
    _column("EffectiveCost", "decimal", "mandatory", "filled"),
    _column("InvoiceId", "ascii", "recommended"),
    _column("InvoiceIssuerName", "ascii", "mandatory", "filled"),
    _column("ListCost", "decimal", "mandatory", "filled"),
    _column("ListUnitPrice", "decimal", "conditional", "PUBLIC_PRICE_LIST priced positive"),
    _column("PricingCategory", "ascii", "conditional", "priced DYNAMIC_PRICING", "Standard; Dynamic; Committed; Other"),
    _column("PricingCurrency", "ascii", "conditional", "PRICING_BILLING_CURRENCY_DIFFERENCES filled"),
    _column("PricingCurrencyContractedUnitPrice", "decimal", "conditional", "VIRTUAL_CURRENCY priced positive"),
    _column("PricingCurrencyEffectiveCost", "decimal", "conditional", "VIRTUAL_CURRENCY filled"),
    _column("PricingCurrencyListUnitPrice", "decimal", "conditional", "VIRTUAL_CURRENCY priced positive"),
    _column("PricingQuantity", "decimal", "mandatory", "priced"),
    _column("PricingUnit", "ascii", "mandatory", "priced"),
    _column("ProviderName", "ascii", "mandatory", "filled"),
    _column("PublisherName", "ascii", "mandatory", "filled"),
    _column("RegionId", "ascii", "conditional", "REGION"),
    _column("RegionName", "ascii", "conditional", "REGION"),
    _column("ResourceId", "ascii", "conditional", "PROVISIONED_RESOURCES"),
    _column("ResourceName", "ascii", "conditional", "PROVISIONED_RESOURCES"),
    _column("ResourceType", "ascii", "conditional", "RESOURCE_TYPE_ASSIGNMENT"),
    _column("ServiceCategory", "ascii", "mandatory", "filled", _CATEGORIES),
    _column("ServiceName", "ascii", "mandatory", "filled"),
    _column("ServiceSubcategory", "ascii", "recommended", "filled"),
    _column("SkuId", "ascii", "conditional", "PUBLIC_PRICE_LIST priced"),
    _column("SkuMeter", "ascii", "conditional", "PUBLIC_PRICE_LIST unpriced_tax"),
    _column("SkuPriceDetails", "json", "conditional", "PUBLIC_PRICE_LIST unpriced_tax"),
    _column("SkuPriceId", "ascii", "conditional", "PUBLIC_PRICE_LIST priced"),
    _column("SubAccountId", "ascii", "conditional", "SUB_ACCOUNT"),
    _column("SubAccountName", "ascii", "conditional", "SUB_ACCOUNT"),
    _column("SubAccountType", "ascii", "conditional", "MULTIPLE_SUB_ACCOUNT_TYPES"),
    _column("Tags", "json", "conditional", "TAGGING"),
    _column("x_ChargeId", "text", "ours"),
    _column("x_ChargeDescriptionZh", "text", "ours"),
    _column("x_InvoiceLine", "text", "ours"),
    _column("x_OriginalInvoiceId", "text", "ours"),
    _column("x_OriginalLineId", "text", "ours"),
    _column("x_PeakPolicy", "text", "ours"),
    _column("x_PeakSlot", "text", "ours"),
    _column("x_StandardFp32TflopsHours", "decimal", "ours"),
    _column("x_EventDigest", "text", "ours"),
    _column("x_HostProviderName", "text", "ours"),
    _column("x_ServiceProviderName", "text", "ours"),
    _column("x_BillingAccountLocalName", "text", "ours"),
    _column("x_ProviderShare", "decimal", "ours"),
    _column("x_PublisherShare", "decimal", "ours"),
    _column("x_PlatformShare", "decimal", "ours"),
)
BY_NAME: Final[Mapping[str, Column]] = {column.name: column for column in COLUMNS}
# Subcategories that have one parent in every version since 1.1; those that later versions added are not listed.
_SUBCATEGORIES: Final = {
    "AI and Machine Learning": "Bots; Generative AI; Machine Learning; Natural Language Processing",
    "Analytics": "Analytics Platform; Business Intelligence; Data Processing; Search; Streaming Analytics",
    "Compute": "Containers; End User Computing; Quantum; Serverless Compute; Virtual Machines",
    "Databases": "Caching; Data Warehouse; Relational; NoSQL; Ledger; Time Series",
    "Integration": "API Management; Messaging; Workflow Automation",
    "Management and Governance": (
        "Administration; Architecture; Compliance; Cost Management; Data Governance; Disaster Recovery; Observability; Support"
    ),
    "Networking": "Content Delivery; Data Transfer; Load Balancing; Network Management; Network Security",
    "Security": "CSPM; Credentials; SIEM; Threat Detection",
    "Storage": "Backups; Bulk Transfer; Disk; Files; Object Storage",
}
PARENTS: Final[Mapping[str, str]] = {
    name.strip(): parent for parent, names in _SUBCATEGORIES.items() for name in names.split(";")
} | {f"Other ({name.strip()})": name.strip() for name in _CATEGORIES.split(";")}
# Both null or both not. The left one's absence is the right one's.
TOGETHER: Final = (
    ("PricingQuantity", "PricingUnit"), ("ConsumedQuantity", "ConsumedUnit"), ("RegionId", "RegionName"),
    ("ResourceId", "ResourceName"), ("ResourceId", "ResourceType"), ("SubAccountId", "SubAccountName"),
    ("BillingAccountId", "BillingAccountType"),
)  # fmt: skip
# What is one thing on the left has one value on the right in a whole file.
ONE_OF: Final = (("SkuPriceId", "SkuId"), ("ServiceName", "ServiceCategory"), ("ServiceName", "ServiceSubcategory"))
# price x quantity = cost, exactly, but for corrections.
PRODUCTS: Final = (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost"))

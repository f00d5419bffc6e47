"""Who is in the demo market. Data only; `manage.py seed_demo` writes it, `python -m demo` logs in with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PASSWORD: Final = "gridfare-demo"  # noqa: S105  of a market on one's own machine that only listens there


@dataclass(frozen=True)
class Party:
    """An organization and the person who owns it."""

    slug: str
    name: str
    username: str
    region: str
    is_provider: bool = False
    is_publisher: bool = False
    is_user: bool = False


@dataclass(frozen=True)
class DemoPool:
    """A pool with its one offer; `agent` names the agent's folder and process."""

    agent: str
    owner: str
    name: str
    region: str
    kind: str
    tier: str
    basis: str
    rates: dict[str, str] = field(default_factory=dict)


ALICE: Final = Party("acme-studio", "Acme Studio, Shanghai", "alice", "shanghai", is_user=True)
BOB: Final = Party("western-power", "Western Power", "bob", "ningxia", is_provider=True)
ERIN: Final = Party("bund-edge", "Bund Edge", "erin", "shanghai", is_provider=True)
CAROL: Final = Party("gridfare", "Gridfare Capabilities", "carol", "beijing", is_publisher=True)
PARTIES: Final = (ALICE, BOB, ERIN, CAROL)
OPERATOR: Final = "olga"

# A core-hour in the west costs about a third of one in the east.
POOLS: Final = (
    DemoPool(
        "ningxia", "western-power", "Zhongwei hall 1", "ningxia", "general", "cloud", "consumption",
        {"core_second": "0.00002", "gb_moved": "0.05"},
    ),
    DemoPool(
        "guizhou", "western-power", "Gui'an hall 3", "guizhou", "general", "cloud", "occupancy",
        {"occupancy_second": "0.000025", "gb_moved": "0.05"},
    ),
    DemoPool(
        "shanghai", "bund-edge", "Lujiazui edge", "shanghai", "general", "edge", "consumption",
        {"core_second": "0.00007", "gb_moved": "0.01"},
    ),
)  # fmt: skip
CAPABILITIES: Final = ("command", "archive", "train", "render")
ARCHIVE_REGION: Final = "guizhou"

"""The provider's agent: it runs on a machine that is lent to the market and opens only outbound HTTPS.

`join` enrols a machine, `run` works, `drain` empties it, `reclaim` takes it back with notice, `selftest` tests it;
docs/protocol.md is what it speaks.
"""

from gridfare.agent.checks import Result, SelfTest
from gridfare.agent.commands import Joined, drain, give_back, join, reclaim, run, selftest, set_idle, set_store
from gridfare.agent.home import HomeError
from gridfare.agent.owner import IdleRules, RulesError
from gridfare.agent.protocol import ProtocolError, Unreachable

__all__ = [
    "HomeError",
    "IdleRules",
    "Joined",
    "ProtocolError",
    "Result",
    "RulesError",
    "SelfTest",
    "Unreachable",
    "drain",
    "give_back",
    "join",
    "reclaim",
    "run",
    "selftest",
    "set_idle",
    "set_store",
]

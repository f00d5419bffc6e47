"""The simulator: the planner of production on a trace, in virtual time. Pure: files in, values out, no database.

traces.py, swf.py → what arrives    park.py → where it may go    policies.py → who decides
run.py → virtual time, with machines.py as the pools             measures.py, plots.py → how it went
"""

from scheduler.simulator.measures import Figures, figures_of
from scheduler.simulator.park import Park, read_park
from scheduler.simulator.policies import Policy, policy_named
from scheduler.simulator.run import Outcome, Settings, simulate
from scheduler.simulator.traces import read_trace
from scheduler.simulator.values import BadFile, Trace, Unit

__all__ = [
    "BadFile", "Figures", "Outcome", "Park", "Policy", "Settings", "Trace", "Unit", "figures_of", "policy_named", "read_park",
    "read_trace", "simulate",
]  # fmt: skip

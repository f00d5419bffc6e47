"""Scheduling in the operators' pages; and what of it hangs on tasks, pools and agents."""

from scheduler.admin import demand, network, rounds, tasks, trust, units

__all__ = ["demand", "network", "rounds", "tasks", "trust", "units"]

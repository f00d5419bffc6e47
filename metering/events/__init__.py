"""Usage that pools meter themselves: events in, each counted once (docs/billing/usage.md)."""

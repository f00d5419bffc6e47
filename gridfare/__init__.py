"""Gridfare for those who use it or lend machines to it: the SDK, the command line and the provider's agent."""

version = "0.1.0"

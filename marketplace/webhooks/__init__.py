"""Webhooks: facts into an outbox (outbox), endpoints and secrets (endpoints, signing), sending in order (sending, retrying)."""

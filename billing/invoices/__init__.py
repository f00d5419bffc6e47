"""Invoices: an account's months and what is asked for them. `states.py` draws an invoice's states."""

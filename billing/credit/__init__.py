"""Credit: balances, holds and budgets as doors, the proof of their sums, wallets."""

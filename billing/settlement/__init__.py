"""Settlement with payees: what is owed to providers and publishers, when it may go out, and payouts that go out once."""

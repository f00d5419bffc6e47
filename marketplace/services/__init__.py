"""What can happen in the marketplace: one function per verb, the only doors that write."""

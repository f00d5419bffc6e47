"""Pages of the index: from its ranks down to the row of a file."""

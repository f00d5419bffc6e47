"""The running month between two editions: counted when pools and charges move, scored by fixed ends, moves traced to causes."""

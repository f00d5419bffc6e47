"""The proof of the journal: sealing it block by block, proving the seals, and giving it all away to be checked by others.

hashing    pure: digests, Merkle trees, the chain
sealing    the service that seals; proving: the nightly one that checks what was sealed
queries    seals and entries as documents; export: the ledger as streams of lines
"""

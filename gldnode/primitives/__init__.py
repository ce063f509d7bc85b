"""The formats: hashes, integers, amounts, transactions, blocks. Pure."""

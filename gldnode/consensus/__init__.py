"""The rules of blocks and transactions: pure functions, each with its Core name and reject reason."""

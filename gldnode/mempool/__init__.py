"""The mempool and the node's policy about what comes into it."""

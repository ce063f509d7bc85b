"""HTTP: the node's JSON-RPC, BTNG-PAY, the Greenfield API, pages and documentation."""

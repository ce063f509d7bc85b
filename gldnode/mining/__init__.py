"""Building blocks: selection, templates, and mining on the regtest networks."""

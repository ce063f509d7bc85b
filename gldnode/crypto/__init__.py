"""Signatures and keys of secp256k1, and the set hash. Pure."""

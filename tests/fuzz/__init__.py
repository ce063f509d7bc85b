"""Bytes from anyone, given to everything that reads them: `targets` says what may happen and what may not."""

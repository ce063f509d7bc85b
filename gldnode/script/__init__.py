"""Scripts: their form, their text, what they sign, and whether they may spend. Pure."""

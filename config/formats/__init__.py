"""How dates are written, in each language."""

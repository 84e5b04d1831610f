"""The passes: each takes a module and makes a better or lower one. Their order is in ``pipeline``."""

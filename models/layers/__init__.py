"""Building blocks that the methods share; each file holds one idea and its law."""

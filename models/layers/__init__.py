"""Building blocks that the methods share. Each file holds one idea and the law that it obeys."""

"""A training run: the loop, its optimisers, its folder and its log."""

"""The user's own pictures: what hide.py and reveal.py do."""

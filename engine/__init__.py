"""What the commands at the root call: training, testing, and hiding and revealing a user's own files."""

"""Training, testing and the deployed path: what the commands at the root call."""

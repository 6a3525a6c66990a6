"""What happens to a stego between sender and receiver."""

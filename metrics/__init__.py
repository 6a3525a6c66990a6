"""How results are measured: uint8 pictures go in, numbers come out."""

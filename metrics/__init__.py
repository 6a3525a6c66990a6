"""How results are measured; uint8 pictures in, numbers out."""

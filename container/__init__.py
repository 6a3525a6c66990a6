"""What is written into a picture: keys, header, digits, coded pictures, notes. It needs numpy, not torch."""

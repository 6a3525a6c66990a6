"""What is written into a picture: keys, header, digits, coded pictures, notes. Bytes and numpy, no torch."""

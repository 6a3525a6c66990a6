"""Detectors at work on picture files: can stegos be told from covers, and can secrets be read without a key?

`analysis` (one detector on pairs of files), `pairs` (the split), `features`, `training` and `cnn` (networks),
`extract` (reading without the key), `kept` (trained detectors as files), `stegos` (what detectors are
tried on), `files` (results).
"""

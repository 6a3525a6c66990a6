"""Steganalysis of picture files: can a detector tell stegos from covers, or read secrets without the key?

`analysis` (one detector on pairs of files), `pairs` (the split), `features`, `training` and `cnn` (networks),
`extract` (reading without the key), `kept` (trained detectors as files), `stegos` (folders to try detectors
on), `files` (results).
"""

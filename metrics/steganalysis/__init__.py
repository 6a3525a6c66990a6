"""Detectors of hidden data, on arrays: `lsb` (what StegExpose computes), `rich` (features and a trained
ensemble), `ica` (eight features and a support vector machine), `cnn` (networks to be trained), `unet` (a
network that reads secrets), and `scores` (what a detector's scores are worth).

engine/testing/steganalysis/ puts them to work on picture files.
"""

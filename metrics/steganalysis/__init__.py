"""Detectors of hidden data, on arrays: `lsb` (what StegExpose computes), `rich` (features and a trained
ensemble), `cnn` (networks to be trained), and `scores` (what a detector's scores are worth).

engine/testing/steganalysis.py puts them to work on picture files.
"""

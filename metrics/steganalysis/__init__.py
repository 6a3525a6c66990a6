"""Detectors of hidden data, on arrays. engine/testing/steganalysis/ applies them to picture files.

lsb      what StegExpose computes
rich     features and a trained ensemble
ica      eight features and a support vector machine
cnn      networks to be trained
unet     a network that reads secrets
scores   what a detector's scores are worth
"""

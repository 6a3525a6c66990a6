"""Pictures: finding, reading, checking, grouping, cropping and loading them.

images      read and write one picture file, list pictures
samples     the pictures that come with scikit-image: the default without a data set
presets     the papers' data sets: folders, crop, homepage
groups      one cover and N secrets; fixed lists for validation and test
pairs       the pictures of two folders, matched by name
transforms  bring pictures to one size
variation   random crop, flip and rotation in training
loader      groups as tensors, for training and for evaluation
memory      decoded pictures in memory that processes share, and how much memory there is
packed      decoded pictures in one file, shared by processes and runs
broken      count pictures that cannot be read in training
files       write files atomically, lock them, hash them
kept_lists  keep the lists of large folders

This file imports nothing, so that a command that only lists files does not wait for torch.
"""

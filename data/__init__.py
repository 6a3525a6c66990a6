"""Pictures: finding, reading, checking, grouping, cropping and loading them.

images      one picture file in or out, and lists of them
samples     the pictures that scikit-image carries: the default where nobody has a data set
presets     the papers' data sets: folders, crop, homepage
groups      one cover and N secrets, fixed lists for validation and test
transforms  crop, resize, flip, turn
memory      decoded pictures in memory that processes share, and how much memory there is
loader      groups as tensors, for training and for evaluation

Nothing is imported here: a command that only lists files need not wait for torch.
"""

"""Where a model fails and why: all figures of a data set, image by image."""

"""Scores of checkpoints and of sets of images, with the protocol that made them."""

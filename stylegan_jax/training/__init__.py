"""Everything between a batch and a new training state."""

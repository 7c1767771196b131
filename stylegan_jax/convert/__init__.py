"""Official checkpoints to and from this package's parameter trees."""

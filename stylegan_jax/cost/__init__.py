"""What hardware can do and what programs ask of it: speed and plans stand on it."""

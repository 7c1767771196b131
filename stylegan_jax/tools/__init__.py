"""Command-line tools over trained checkpoints."""

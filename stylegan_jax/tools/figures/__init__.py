"""Figures of the papers, from a checkpoint; the command is in `__main__.py`."""

"""Projection: the styles and noise with which a network draws a given photograph."""

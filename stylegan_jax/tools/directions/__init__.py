"""Directions in the space of styles along which images change."""

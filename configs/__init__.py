"""Recipes: one file per paper's run."""

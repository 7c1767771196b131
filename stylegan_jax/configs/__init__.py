"""Recipes: one file per paper's run; found by name, see `stylegan_jax/recipes.py`."""

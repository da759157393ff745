"""Recipes: what a run trains, on what data and how. The ones of this package are the TOML files beside this module."""

from ruie_training.recipes.recipe import Recipe, hash_of
from ruie_training.recipes.tables import built_in, find_recipe, read_tables

__all__ = ["Recipe", "built_in", "find_recipe", "hash_of", "read_tables"]

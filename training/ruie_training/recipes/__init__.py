"""Recipes: the models, data and settings of a run. The built-in ones are the TOML files in this folder."""

from ruie_training.recipes.recipe import Recipe, hash_of
from ruie_training.recipes.tables import built_in, find_recipe, read_tables

__all__ = ["Recipe", "built_in", "find_recipe", "hash_of", "read_tables"]

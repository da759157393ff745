"""Recipe files: TOML tables, which can extend each other."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruie_training.errors import RecipeError


def built_in() -> dict[str, Path]:
    """The recipes that come with this package, by name."""
    folder = Path(str(files("ruie_training").joinpath("recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_recipe(name: str | Path, beside: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        name: A TOML file, or the name of a recipe of this package, with or without ``.toml``.
        beside: A folder whose recipes take precedence over those of the package.

    Raises:
        RecipeError: There is no such recipe.
    """
    path = Path(name) if beside is None else beside / f"{str(name).removesuffix('.toml')}.toml"
    if path.is_file():
        return path
    known = built_in()
    if (short := str(name).removesuffix(".toml")) not in known:
        raise RecipeError(f"no recipe {str(name)!r}: give a TOML file, or one of {', '.join(known)}")
    return known[short]


def read_tables(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's tables, merged over those of the recipe that it extends, without dropped sections.

    Raises:
        RecipeError: The file is not TOML, extends itself, drops a section that doesn't exist, or has a value of another
            type for ``extends`` or ``drop``.
    """
    if path in extended_by:
        raise RecipeError(f"{path} extends itself, through {' and '.join(map(str, extended_by))}")
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))  # some editors put a byte order mark at the start
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file: {error}") from error
    base, dropped = tables.pop("extends", None), tables.pop("drop", [])
    if base is not None and not isinstance(base, str):
        raise RecipeError(f"{path}: extends must be the name of one recipe, got {base!r}")
    if not isinstance(dropped, list) or not all(isinstance(name, str) for name in dropped):
        raise RecipeError(f'{path}: drop must be a list of names, such as drop = ["evaluate"], got {dropped!r}')
    if base is None:
        if dropped:
            raise RecipeError(f"{path} drops {', '.join(dropped)}, but extends no recipe: leave out these sections")
        return tables
    extended = read_tables(find_recipe(base, path.parent), (*extended_by, path))
    for name in dropped:
        *parents, last = name.split(".")
        table: Any = extended
        for parent in parents:
            table = table.get(parent) if isinstance(table, dict) else None
        if not isinstance(table, dict) or table.pop(last, None) is None:
            raise RecipeError(f"{path} drops {name}, and {base} has no such section")
    return _merge(extended, tables)


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        # a table of another kind has other keys, so it replaces the extended one
        if isinstance(known, dict) and isinstance(value, dict) and value.get("kind") in (None, known.get("kind")):
            merged[key] = _merge(known, value)
        else:
            merged[key] = value
    return merged

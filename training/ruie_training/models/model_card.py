"""The model card of an encoder: what it was made of, by which recipe and command, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ruie_training.data.catalog import DataSet, Role

FIGURES = "## Figures"


def write_card(sets: Sequence[DataSet], *, title: str, recipe: Mapping[str, object], command: str, how: str) -> str:
    """A model card in Markdown; its last section, the figures, is filled by ``add_figures``.

    Args:
        sets: What it was trained on.
        title: The first line.
        recipe: Every number of the recipe.
        command: What makes the encoder again.
        how: What was done, in words.
    """
    rows = [
        f"| {found.name} | {found.language} | {found.size('train'):,} | {found.source.split(' : ')[0]} "
        f"| {found.licence} |"
        for found in sets
    ]
    return "\n".join(
        [
            f"# {title}",
            "",
            how,
            "",
            "Made by",
            "```",
            command,
            "```",
            "",
            "## Recipe",
            "",
            *[f"- {name}: {value}" for name, value in recipe.items()],
            "",
            "## Data",
            "",
            f"The train splits of these sets and nothing else. {_terms(sets)}",
            "",
            "| set | language | rows | source | licence as stated there |",
            "|---|---|---:|---|---|",
            *rows,
            "",
            FIGURES,
            "",
            "None added yet.",
            "",
        ]
    )


def _terms(sets: Sequence[DataSet]) -> str:
    """Whether the licences allow to pass on what was trained, and whether a set was meant for testing."""
    closed = [found.name for found in sets if not found.permissive]
    tested = [found.name for found in sets if found.role is Role.HELD_OUT]
    licences = (
        f"No permissive licence is stated, so these weights are for measurement only: {', '.join(closed)}."
        if closed
        else "All allow it by their stated licence."
    )
    held_out = f"Held out, and trained on all the same: {', '.join(tested)}." if tested else "None is held out."
    return f"{licences} {held_out}"


def add_figures(folder: str | Path, figures: str) -> None:
    """Put figures into the card of an exported encoder, in place of those that stand there.

    Args:
        folder: An exported encoder.
        figures: Markdown.
    """
    path = Path(folder) / "README.md"
    opening = path.read_text("utf-8").partition(FIGURES)[0]
    path.write_text(f"{opening}{FIGURES}\n\n{figures.strip()}\n", "utf-8")


def rows_of(sets: Sequence[DataSet]) -> str:
    """How many sets and rows, and how many of them are held in, in a few words."""
    held_in = sum(found.role is Role.HELD_IN for found in sets)
    rows = sum(found.size("train") for found in sets)
    return f"{len(sets)} sets ({held_in} held-in, {len(sets) - held_in} extra), {rows:,} rows"

"""The model card of an encoder: its data, recipe, command and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruie_components.files import atomic_write
from ruie_components.integers import counted
from ruie_training.data.catalog import DataSet, Role

FIGURES = "## Figures"


def write_card(sets: Sequence[DataSet], *, title: str, recipe: Mapping[str, object], command: str, how: str) -> str:
    """A model card in Markdown; ``add_figures`` fills its last section.

    Args:
        sets: The training sets.
        title: The title.
        recipe: Every number of the recipe.
        command: The command that reproduces the encoder.
        how: A description of the training.
    """
    rows = [
        f"| {dataset.name} | {dataset.language} | {dataset.size('train'):,} | {dataset.source.split(' : ')[0]} "
        f"| {dataset.licence} |"
        for dataset in sets
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
    """Sentences on the licences of the training sets, and on held-out sets among them."""
    own = [dataset.name for dataset in sets if dataset.role is Role.OWN]
    closed = [dataset.name for dataset in sets if not dataset.permissive and dataset.name not in own]
    tested = [dataset.name for dataset in sets if dataset.role is Role.HELD_OUT]
    licences = (
        f"No permissive licence is stated, so these weights are for measurement only: {', '.join(closed)}."
        if closed
        else "All permit passing on these weights by their stated licence."
    )
    if own:  # rows without a catalog have no stated licence
        licences = "The rows came without a catalog: their owner decides who may use these weights."
    held_out = f"Held out, and trained on all the same: {', '.join(tested)}." if tested else "None is held out."
    return f"{licences} {held_out}"


def add_figures(folder: str | Path, figures: str) -> None:
    """Set the figures in the card of an exported encoder.

    Args:
        folder: An exported encoder.
        figures: Markdown.
    """
    path = Path(folder) / "README.md"
    opening = path.read_text("utf-8").partition(FIGURES)[0]
    atomic_write(path, f"{opening}{FIGURES}\n\n{figures.strip()}\n")


def rows_of(sets: Sequence[DataSet]) -> str:
    """The numbers of sets by role and of rows, in words."""
    roles = Counter(dataset.role for dataset in sets)
    rows = sum(dataset.size("train") for dataset in sets)
    of_roles = ", ".join(f"{count} {role}" for role, count in roles.items())
    return f"{counted(len(sets), 'set')} ({of_roles}), {counted(rows, 'row')}"

"""Corpus runs for tests: ten documents with a name each, what a run leaves in its folder, a model that is gone."""

import json

NAMES = ["Ada", "Bob", "Cy", "Dan", "Eve", "Flo", "Gus", "Hal", "Ida", "Jo"]
FILES = ["results.jsonl", "run.json", "summary.json"]
DOCUMENTS = [{"text": f"Here {name} slept.", "id": f"doc-{name}", "metadata": {"page": 1}} for name in NAMES]


def rows_in(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


def summary_in(folder):
    return json.loads((folder / "summary.json").read_text("utf-8"))


def names_in(rows):
    return [[entity["text"] for entity in row["extraction"].get("entities", [])] for row in rows]


def as_copier(model):
    """A function as a model whose settings are those of a ``Copier``."""
    model.__name__ = "Copier"
    return model


@as_copier
def gone(messages):
    raise ConnectionError("gone")

"""Notebooks are what their paired text says, and their outputs are those of their code. CI runs them besides."""

import hashlib
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def code_of(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_paired_text_and_a_line_in_the_list():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"run", "conftest"} == set(NAMES)
    assert len(NAMES) >= 2
    for name in NAMES:
        assert f"]({name}.ipynb)" in (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_text_with_current_outputs(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    text = jupytext.read(FOLDER / f"{name}.py")
    advice = f"run python notebooks/run.py {name}"
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ], advice
    digest = hashlib.sha256("\n\n".join(code_of(notebook)).encode()).hexdigest()[:16]
    assert notebook.metadata.get("ruie_code_hash") == digest, advice
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), advice
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "a notebook has a picture"

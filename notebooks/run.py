"""Runs notebooks from their paired text and writes them with their outputs: python notebooks/run.py [NAME ...]

NAME.py (jupytext's percent format) is what people edit and review. NAME.ipynb is made of it, with a hash of its code, so that the
tests know outputs that are not those of the code.
"""

import hashlib
import importlib.util
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
HASH = "ruie_code_hash"
NO_NOTEBOOK = ("run", "conftest")
NEEDS = {"training_pipeline": "torch", "quickstart_llama_index": "llama_index"}
"""Packages beyond the extra [notebooks] that a notebook can't do without."""


def names() -> list[str]:
    """The notebooks that have a paired text."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NO_NOTEBOOK)


def missing(name: str) -> str | None:
    """The package that a notebook needs and that is not installed here, or None."""
    package = NEEDS.get(name)
    return package if package and importlib.util.find_spec(package) is None else None


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """A hash of the code cells, in order."""
    code = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def run(name: str) -> None:
    """Run one notebook and write it."""
    start = time.monotonic()
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata.pop("jupytext", None)
    NotebookClient(
        notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same at every run
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", []):
            if "text" in output and (str(Path.home()) in output.text or str(FOLDER.parent) in output.text):
                sys.exit(f"{name}: an output holds a path of this machine: {output.text[:200]}")
    notebook.metadata[HASH] = code_hash(notebook)
    notebook.metadata["language_info"].pop("version", None)
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")
    print(f"{name}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    for each in sys.argv[1:] or names():
        if package := missing(each):
            print(f"{each}: skipped, it needs {package}")
        else:
            run(each)

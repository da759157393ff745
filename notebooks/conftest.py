"""Leaves out, under pytest --nbmake, notebooks whose packages are not installed here."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's import mode doesn't

from run import missing


def pytest_collection_modifyitems(items):
    """Skip them, and say what is missing."""
    for item in items:
        if item.path.suffix == ".ipynb" and (package := missing(item.path.stem)):
            item.add_marker(pytest.mark.skip(reason=f"{item.path.name} needs {package}"))

"""The ``ruie`` command."""

from ruie_components.cli.app import main

__all__ = ["main"]

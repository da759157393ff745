"""Displays results: highlighted texts in a terminal, and one self-contained HTML page."""

from ruie_components.report.page import render, write

__all__ = ["render", "write"]

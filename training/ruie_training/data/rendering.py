"""Renders the texts of examples for models, on demand and cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ruie_components import prompts
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.types import Example

TextOf = Callable[[str], str]
"""Takes an id, gives a text."""


def search_query_of(examples: Mapping[str, Example], layout: Layout) -> TextOf:
    """The text of a query as the bi-encoder reads it: no tags and no output."""
    return _kept(lambda name: prompts.render_search_query(examples[name].query, layout))


def passage_of(examples: Mapping[str, Example], keywords: KeywordStrategy, layout: Layout) -> TextOf:
    """The text of a demonstration with tags and output; the cross-encoder reads both sides like this."""
    return _kept(lambda name: prompts.render_passage(examples[name], keywords, layout))


def _kept(render: TextOf) -> TextOf:
    kept: dict[str, str] = {}

    def text(name: str) -> str:
        if name not in kept:
            kept[name] = render(name)
        return kept[name]

    return text

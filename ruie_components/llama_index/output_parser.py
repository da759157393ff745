"""The output parser: from a model's answer to one query to an Extraction."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.output_parsers import BaseOutputParser

from ruie_components import answers
from ruie_components.prompts import AnswerFormat, default_instruction
from ruie_components.types import Demonstration, Extraction, Query


class UIEOutputParser(BaseOutputParser):
    """Parses a model's answer to one query into spans of its text.

    Args:
        query: The query.
        demonstrations: The demonstrations of the prompt, so that spans leaked from them are rejected.
        answer_format: The format that ``format`` asks for. Both formats are parsed in any case.
        strict: Raise if an answer can't be read, instead of listing it in ``Extraction.rejected``.
    """

    def __init__(
        self,
        query: Query,
        demonstrations: Sequence[Demonstration] = (),
        *,
        answer_format: AnswerFormat | str = AnswerFormat.LINEAR,
        strict: bool = False,
    ) -> None:
        self.query = query
        self.demonstrations = tuple(demonstrations)
        self.answer_format = AnswerFormat(answer_format)
        self.strict = strict

    def parse(self, output: str) -> Extraction:
        """Read the answer.

        Raises:
            AnswerError: In strict mode, an answer that can't be read.
        """
        return answers.parse(output, self.query, strict=self.strict, demonstrations=self.demonstrations)

    def format(self, query: str) -> str:
        """The prompt's text, preceded by the task's instruction unless it already has it."""
        instruction = default_instruction(self.query.task, self.answer_format)
        return query if instruction in query else f"{instruction}\n\n{query}"

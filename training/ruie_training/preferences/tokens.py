"""Tokenizes prompt and answer as one sequence, and splits it where the answer begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_PART = 256  # texts per batch: character offsets take ten times the memory of the tokens


class AnswerSplitter:
    """Tokenizes prompt and answer once, together; a token that reaches into the answer belongs to it.

    Args:
        tokenizer: A fast tokenizer of transformers.

    Raises:
        TypeError: The tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise TypeError(f"{type(tokenizer).__name__} gives no character offsets: load it with use_fast=True")
        self._tokenizer = tokenizer
        begin = tokenizer.bos_token_id
        self._opening = [begin] if begin is not None and tokenizer("a")["input_ids"][:1] == [begin] else []

    def split(self, written: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
        """For each prompt and answer the tokens of both, and the number of answer tokens at the end.

        The tokenizer's beginning-of-text token is added; the end-of-text token is not.
        """
        parts = (written[start : start + _PART] for start in range(0, len(written), _PART))
        return [row for part in parts for row in self._split(part)]

    def _split(self, written: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
        encoded = self._tokenizer(
            [prompt + answer for prompt, answer in written],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        rows = zip(written, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [
            (self._opening + list(ids), sum(end > len(prompt) for _, end in offsets))
            for (prompt, _), ids, offsets in rows
        ]

"""Passes of texts through a causal language model, in which a text can continue an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache


@dataclass(frozen=True)
class Past:
    """The state of processed texts: keys and values, their mask, and their number."""

    cache: Any
    mask: torch.Tensor  # (rows, width), 1 for a token and 0 for padding
    lengths: torch.Tensor  # (rows,)


@dataclass(frozen=True)
class Passes:
    """A model, whether it keeps what it has read, and whether prefixes of different lengths may be padded to one."""

    model: Any
    share: bool = True
    pad: bool = True

    def extend(
        self, past: Past | None, parents: list[int], tokens: list[list[int]], answers: list[int] | None = None
    ) -> tuple[Past, torch.Tensor]:
        """Process new tokens; each row continues a row of ``past``.

        Args:
            past: The state so far, which is not changed. None: empty.
            parents: For each row the row of ``past`` that it continues.
            tokens: For each row its new tokens, at least one.
            answers: The number of answer tokens at the end of each row. None: return no logits.

        Returns:
            The new state, and the logits that predict the answers (answer tokens of all rows, vocabulary).
        """
        device = self.model.device
        lengths = torch.tensor([len(row) for row in tokens])
        width = int(lengths.max())
        steps = torch.arange(width)
        new = (steps < lengths[:, None]).long()  # (rows, width)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in tokens])  # padding is masked
        chosen = torch.tensor(parents)
        before = past.lengths[chosen] if past else torch.zeros(len(tokens), dtype=torch.long)
        mask = torch.cat([past.mask[chosen], new], 1) if past else new
        positions = before[:, None] + torch.minimum(steps, lengths[:, None] - 1)
        keep: Any = 1
        if answers is not None:
            first = lengths - torch.tensor(answers) - 1
            keep = ((steps >= first[:, None]) & (steps < lengths[:, None] - 1)).to(device)  # (rows, width)
        output = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            past_key_values=_rows_of(past, chosen.to(device)) if self.share else None,
            use_cache=self.share,
            logits_to_keep=keep,
        )
        logits = output.logits
        if answers is not None and logits.dim() == 3:  # a model without this option returns all
            logits = logits[keep]
        return Past(output.past_key_values, mask, before + lengths), logits


def _rows_of(past: Past | None, rows: torch.Tensor) -> DynamicCache:
    """A copy of the cache for some rows, which the model may modify."""
    cache = DynamicCache()
    if past:
        for number, layer in enumerate(past.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], number)
    return cache

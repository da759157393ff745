"""Passes of texts through a causal language model, in which a text may go on from one that was read before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache


@dataclass(frozen=True)
class Past:
    """Texts that went through the model: keys and values, which of them are real, and how many."""

    cache: Any
    mask: torch.Tensor  # (rows, width), 1 for a token and 0 for padding
    lengths: torch.Tensor  # (rows,)


@dataclass(frozen=True)
class Passes:
    """A model, and whether it keeps what it has read."""

    model: Any
    share: bool = True

    def extend(
        self, past: Past | None, parents: list[int], tokens: list[list[int]], answers: list[int] | None = None
    ) -> tuple[Past, torch.Tensor]:
        """Read new tokens, each row going on from a row of ``past``.

        Args:
            past: What was read before; it stays as it is. None: nothing.
            parents: For each row the row of ``past`` that it goes on from.
            tokens: For each row its new tokens, at least one.
            answers: How many of each row's last tokens are its answer. None: no logits are wanted.

        Returns:
            Everything read so far, and the logits that foretell the answers (answer tokens of all rows, vocabulary).
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
        if answers is not None and logits.dim() == 3:  # a model that takes no mask returns all
            logits = logits[keep]
        return Past(output.past_key_values, mask, before + lengths), logits


def _rows_of(past: Past | None, rows: torch.Tensor) -> DynamicCache:
    """A cache of chosen rows, which the model may write to."""
    cache = DynamicCache()
    if past:
        for number, layer in enumerate(past.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], number)
    return cache

"""The loss that distils a teacher's scores into a bi-encoder (RUIE, arXiv 2409.11673, section on distillation)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor, nn
from torch.nn import functional

from ruie_training.errors import LossError


class DistillationLoss(NamedTuple):
    """The loss and its parts, each a scalar."""

    total: Tensor
    """``kl + weight * contrastive``."""
    kl: Tensor
    """Kullback-Leibler divergence of the student's scores from the teacher's in each group, mean over queries."""
    contrastive: Tensor
    """Cross-entropy of the positive among all pairs of the batch, mean over queries, not yet weighted."""


def distillation_loss(
    queries: Tensor,
    passages: Tensor,
    teacher: Tensor,
    temperature: float = 0.01,
    weight: float = 0.2,
) -> DistillationLoss:
    """The paper's loss over a batch of B queries, each with a group of n passages.

    Args:
        queries: Unit vectors, ``(B, d)``.
        passages: Unit vectors, ``(B, n, d)``; ``passages[:, 0]`` are the positives.
        teacher: The teacher's raw scores, ``(B, n)``.
        temperature: The divisor of the student's cosines.
        weight: The weight of the contrastive part.

    Returns:
        The total and its two parts.

    Raises:
        ValueError: The shapes are inconsistent, or the temperature is not positive.
    """
    _check(queries, passages, teacher, temperature)
    kl = group_divergence(queries, passages, teacher, temperature)
    contrastive = contrastive_loss(queries, passages, temperature)
    return DistillationLoss(kl + weight * contrastive, kl, contrastive)


def _check(queries: Tensor, passages: Tensor, teacher: Tensor, temperature: float) -> None:
    fits = (
        queries.ndim == 2
        and passages.ndim == 3
        and passages.shape[::2] == queries.shape
        and teacher.shape == passages.shape[:2]
    )
    if not fits:
        raise ValueError(
            "distillation_loss needs queries (B, d), passages (B, n, d) and teacher (B, n); it got "
            f"{tuple(queries.shape)}, {tuple(passages.shape)} and {tuple(teacher.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"the temperature must be above zero; it is {temperature}")


def group_divergence(queries: Tensor, passages: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) over each query's group, mean over queries.

    The teacher is the softmax of its raw scores, the student the softmax of cosine / temperature.
    """
    student = torch.einsum("bd,bnd->bn", queries, passages) / temperature
    return functional.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


def contrastive_loss(queries: Tensor, passages: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each query's positive over one row of scores, of four kinds of pairs.

    The pairs are: query and all passages of the batch, its positive and other queries, query and other queries, its
    positive and other positives.
    """
    size, group, _ = passages.shape
    positives = passages[:, 0]  # (B, d)
    own = torch.eye(size, dtype=torch.bool, device=queries.device)
    others = [positives @ queries.T, queries @ queries.T, positives @ positives.T]  # (B, B) each
    scores = [queries @ passages.flatten(0, 1).T, *(pairs.masked_fill(own, -torch.inf) for pairs in others)]
    target = torch.arange(size, device=queries.device) * group
    return functional.cross_entropy(torch.cat(scores, dim=1) / temperature, target)


class RUIEDistillationLoss(nn.Module):
    """``distillation_loss`` for a ``SentenceTransformerTrainer``.

    A row of the data set has the columns query, positive, negative_1 ... negative_(n-1) in this order, and as its label
    the teacher's n scores in the order of the passages.

    Args:
        model: The bi-encoder; its embeddings are normalised here.
        temperature: The divisor of the cosines.
        weight: The weight of the contrastive part.
        divergence_weight: The weight of the KL part: 1 in the paper, 0 for the contrastive part only.
        chunk_size: The number of texts to embed at a time; a batch's texts are sorted by length, which minimizes
            padding. The loss is the same except for rounding. A model whose columns can't be joined, such as
            ``StaticEmbedding``, embeds them one by one.

    The batches of several processes are joined, so that loss and gradients equal those of one process with the joined
    batch.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        temperature: float = 0.01,
        weight: float = 0.2,
        divergence_weight: float = 1.0,
        chunk_size: int = 16,
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.weight = weight
        self.divergence_weight = divergence_weight
        self.chunk_size = chunk_size

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the loss, which the trainer adds up and logs.

        Args:
            sentence_features: The tokenized columns: queries, positives, then each column of negatives.
            labels: The teacher's scores, ``(B, n)``.

        Returns:
            ``kl`` and ``contrastive``, both weighted.

        Raises:
            LossError: The loss is not a finite number.
        """
        queries, *groups = self._embed_columns([dict(features) for features in sentence_features])
        passages = torch.stack(groups, dim=1)  # (B, n, d)
        teacher = labels.to(passages.dtype)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            queries, passages = all_gather_with_grad(queries), all_gather_with_grad(passages)
            teacher = all_gather(teacher)
        loss = distillation_loss(queries, passages, teacher, self.temperature, self.weight)
        _check_finite(loss, teacher)
        return {"kl": self.divergence_weight * loss.kl, "contrastive": self.weight * loss.contrastive}

    def _embed_columns(self, columns: list[dict[str, Any]]) -> Sequence[Tensor]:
        if not all(_can_be_joined(column) for column in columns):
            return [self._embed(column) for column in columns]
        joined = join_columns(columns)
        lengths = joined["attention_mask"].sum(1)
        order = lengths.argsort(stable=True)
        chunks = [self._embed(_rows(joined, chunk)) for chunk in order.split(self.chunk_size)]
        return torch.cat(chunks)[order.argsort()].chunk(len(columns))

    def _embed(self, features: dict[str, Any]) -> Tensor:
        return functional.normalize(self.model(features)["sentence_embedding"], dim=-1)

    def get_config_dict(self) -> dict[str, Any]:
        """The settings that the model card lists."""
        names = ("temperature", "weight", "divergence_weight", "chunk_size")
        return {name: getattr(self, name) for name in names}


_TOKEN_KEYS = {"input_ids", "attention_mask", "token_type_ids"}


def _can_be_joined(column: dict[str, Any]) -> bool:
    """Whether a column consists only of tokens padded on the right."""
    tensors = {name for name, value in column.items() if isinstance(value, Tensor)}
    if not {"input_ids", "attention_mask"} <= tensors <= _TOKEN_KEYS:
        return False
    mask = column["attention_mask"]
    return bool(mask[:, 0].all()) and bool((mask.diff(dim=1) <= 0).all())


def join_columns(columns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Columns of tokens as one batch, padded on the right to the longest; padding is masked, its value is arbitrary."""
    width = max(column["input_ids"].shape[1] for column in columns)
    joined = dict(columns[0])
    for name in _TOKEN_KEYS & joined.keys():
        padded = [functional.pad(column[name], (0, width - column[name].shape[1])) for column in columns]
        joined[name] = torch.cat(padded)
    return joined


def _rows(features: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """Some rows of a batch, truncated to the longest of them."""
    width = int(features["attention_mask"][rows].sum(1).max())
    return {name: value[rows, :width] if name in _TOKEN_KEYS else value for name, value in features.items()}


def _check_finite(loss: DistillationLoss, teacher: Tensor) -> None:
    if torch.isfinite(loss.total):
        return
    cause = (
        "the embeddings are not finite: lower the learning rate, or train in bf16 or float32 instead of fp16"
        if torch.isfinite(teacher).all()
        else "the teacher's scores contain values that are not finite: check the scored candidates"
    )
    raise LossError(
        f"the distillation loss is {loss.total.item()} (kl {loss.kl.item()}, contrastive {loss.contrastive.item()}); "
        f"{cause}"
    )

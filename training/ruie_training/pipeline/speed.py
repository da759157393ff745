"""Rough times of training and scoring on this machine, within a factor of three."""

from __future__ import annotations

import time

from ruie_components.encoders import EMBEDDED
from ruie_training.data.settings import SCRATCH
from ruie_training.models.settings import Optimisation, StaticModel, TransformerModel

PROMPT_TOKENS, SHARED_TOKENS = 60, 170
"""Tokens of a prompt with one demonstration: after the part shared with other prompts, and in that part."""
PAIR_TOKENS, TEXT_TOKENS = 180, 90
"""Tokens of a query with a candidate, and of one text."""
_EMBEDDED_DIMENSION = 1024  # of the encoder in the package
_EFFICIENCY = 0.3  # share of a matrix product's speed that a model reaches


def measure_speed(size: int = 1024) -> float:
    """Floating-point operations per second of a model on this machine, estimated by a matrix product in float32."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.rand(size, size, device=device)
    for _ in range(2):
        matrix @ matrix  # warm up
    start = time.perf_counter()
    for _ in range(5):
        product = matrix @ matrix
    float(product[0, 0])  # waits for the device
    return 5 * 2 * size**3 / (time.perf_counter() - start) * _EFFICIENCY


def trained_queries(optimisation: Optimisation) -> int:
    """Queries processed in training."""
    return optimisation.steps * optimisation.batch_size * optimisation.accumulation


def parameters(model: str, billions: float | None, scratch: StaticModel | TransformerModel | None) -> float:
    """Parameters of a model's computation: as stated, or from its sizes if made from scratch or in the package."""
    if model == EMBEDDED:
        return _static_parameters(_EMBEDDED_DIMENSION)
    if model != SCRATCH or scratch is None:
        return (billions or 0.1) * 1e9
    if isinstance(scratch, StaticModel):
        return _static_parameters(scratch.random + scratch.svd)
    return float(transformer_parameters(scratch, 0))


def _static_parameters(dimension: int) -> float:
    return 20.0 * dimension  # a look-up is cheap, but the optimiser updates the whole table


def transformer_parameters(settings: TransformerModel, vocabulary: int) -> int:
    """Parameters of a transformer that take part in a matrix product."""
    return 12 * settings.layers * settings.hidden**2 + vocabulary * settings.hidden

"""Calibration: of annotations with 80% confidence, 80% should be correct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ruie_components.evaluation.experiment import Measurement

BINS = 10


class Outcome(NamedTuple):
    """An extracted annotation: its confidence, and whether it is correct (label and offsets)."""

    confidence: float
    is_right: bool


class Bin(NamedTuple):
    """The annotations in one range of confidence."""

    size: int
    confidence: float
    """Their mean."""
    precision: float
    """The share of correct ones."""


def outcomes(measurement: Measurement) -> list[Outcome]:
    """The annotations of a measurement with a confidence. Of repeats, as many are correct as the gold has.

    Args:
        measurement: The measurement.
    """
    rated = []
    for example, result in zip(measurement.examples, measurement.results, strict=True):
        if not result.confidence:
            continue
        gold = Counter((label, tuple(span.offsets for span in spans)) for label, spans in example.annotations)
        for (label, spans), sure in zip(result.extraction.annotations, result.confidence, strict=True):
            key = (label, tuple(span.offsets for span in spans))
            rated.append(Outcome(sure.value, gold[key] > 0))
            gold[key] -= 1
    return rated


def reliability(given: Sequence[Outcome], bins: int = BINS) -> list[Bin]:
    """The annotations in bins of equal width, 0 to 1; empty bins are left out.

    >>> reliability([Outcome(1.0, True), Outcome(0.5, True), Outcome(0.25, False)], bins=2)
    [Bin(size=1, confidence=0.25, precision=0.0), Bin(size=2, confidence=0.75, precision=1.0)]
    """
    if not given:
        return []
    confidence, is_right = np.array(given, float).T
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(is_right[chosen].mean()))
        for chosen in (index == i for i in range(bins))
        if chosen.any()
    ]


def calibration_error(given: Sequence[Outcome], bins: int = BINS) -> float:
    """The expected calibration error, 0 to 1: the mean gap of confidence and precision (Guo et al. 2017, equation 3).

    NaN without annotations.

    >>> calibration_error([Outcome(0.75, True), Outcome(0.75, True), Outcome(0.75, True), Outcome(0.75, False)])
    0.0
    """
    if not given:
        return float("nan")
    return sum(one.size * abs(one.confidence - one.precision) for one in reliability(given, bins)) / len(given)

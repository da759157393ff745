"""Implements ``store.adapt()``: cross-validates, trains on all rows, and replaces the encoder if it gained."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ruie_components.adaptation.encoders import AdaptableEncoder, AdaptableStaticEncoder
from ruie_components.adaptation.measure import Figures, Gain, gains, join, measure, sure_gain
from ruie_components.adaptation.pool import MAX_ROWS, Pool, Rows
from ruie_components.adaptation.resume import Arrays, KeptArrays
from ruie_components.adaptation.teachers import TeacherSource, load_teacher
from ruie_components.adaptation.training import StaticTraining, steps_for
from ruie_components.encoders import (
    EMBEDDED,
    Encoder,
    OnnxEncoder,
    SentenceTransformersEncoder,
    StaticEncoder,
    load_encoder,
)
from ruie_components.encoders.folder import CONFIG
from ruie_components.errors import AdaptationError
from ruie_components.progress import track
from ruie_components.types import Example

CHECKPOINTS = "ruie.adapt"
"""The group of the entry point that makes an ``AdaptableEncoder`` from a sentence-transformers checkpoint."""

SMALLEST_GAIN = 1e-3
"""The minimum sure gain of the objective: label F1@8 (0 to 1) and half of label recall@8."""

LARGEST_UNTRAINED = 0.1
"""The largest fraction of a pool's rows that its adapted encoder may not have been trained on.

A large pool is measured in one fold. Where that holds out no more than this, the encoder that was measured is taken:
training another one on all rows takes as long again, for a difference of -0.1 to 0.4 label F1@8 on four dev pools
(``benchmarks/README.md``).
"""

MIN_TEXTS = 10
"""The minimum number of different texts of a pool, so that some can be held out."""


class AdaptablePool(Protocol):
    """The interface of a store that adaptation uses."""

    @property
    def pool(self) -> str:
        """Its name."""

    @property
    def encoder(self) -> Encoder:
        """The encoder of its rows."""

    @property
    def keeps_encoder(self) -> bool:
        """Whether the pool keeps an exported encoder."""

    def examples(self) -> Iterator[Example]:
        """All rows."""

    def reindex(self, encoder: Any, *, progress: bool = False) -> None:
        """Embed all rows again with another encoder."""


@dataclass(frozen=True)
class Adaptation:
    """The result of adapting an encoder to its pool."""

    replaced: bool
    """Whether the pool has the adapted encoder now."""
    reason: str
    """Why it was replaced or kept."""
    gains: Sequence[Gain]
    """By task, measured by label voting; ``all`` is last where there are several tasks."""
    seconds: Mapping[str, float]
    """``measure``, ``train``, ``embed``."""
    interpolation_weight: float = 0.0
    """The chosen weight of the interpolation from the start to the trained weights."""
    encoder: str | None = None
    """Its name."""
    folder: str | None = None
    """Where it was written, if ``out`` was given."""


def adapt(
    store: AdaptablePool,
    *,
    out: str | Path | None = None,
    teacher: TeacherSource = None,
    measure_only: bool = False,
    start: Any = None,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = False,
    scratch: Path | None = None,
) -> Adaptation:
    """Train a store's encoder on the store's own pool, and embed the pool again if that gained anything.

    The gain is measured first, by cross-validation: label voting chooses training rows for unseen queries. The encoder
    is replaced if label F1@8 and half of label recall@8 together rise by more than the standard error of the
    difference. A pool that was adapted before starts again from its first encoder. An interruption leaves the pool
    unchanged.

    Then the encoder is trained on all rows, unless the measurement trained it on nearly all (``LARGEST_UNTRAINED``).

    Args:
        store: The store. A folder keeps the adapted encoder; a server and a store in memory do not.
        out: A folder for the adapted encoder, to pass to ``open``. A server needs one.
        teacher: ``None`` for label F1; scored candidates (preferences or rewards) or a file of them; a ``PairScorer``.
        measure_only: Change nothing.
        start: The encoder to start from, as ``load_encoder`` takes it. Needed if the pool's encoder was adapted from
            another one than the package's: an encoder that a store's file names is not loaded.
        steps: Steps of one training. Default: by the kind of encoder.
        seed: Of all random draws.
        progress: Show bars on stderr.
        scratch: A folder for intermediate results, from which the next run resumes after an interruption.

    Returns:
        The measured gains, and whether the encoder was replaced.

    Raises:
        AdaptationError: The encoder can't be trained, or the teacher doesn't fit.
        StoreError: The store can't be written; it keeps its encoder.
        ImportError: A sentence-transformers checkpoint is to be adapted, and the extra ``[train]`` is not installed.
    """
    if out is None and not measure_only and not store.keeps_encoder:
        raise AdaptationError(
            "a server can't keep an encoder: say where to write it (out), and give that folder when you open the store"
        )
    pool = Pool.sample(store.examples(), MAX_ROWS, seed)
    if pool.texts < MIN_TEXTS:
        return Adaptation(False, f"a pool needs at least {MIN_TEXTS} different texts to be adapted to", (), {})
    if pool.same_labels:
        return Adaptation(False, "all rows of the pool have the same labels: there is nothing to tell apart", (), {})
    origin = starting_encoder(store.encoder, start)
    encoder = _adaptable(origin, pool, teacher, steps=steps, seed=seed, progress=progress)
    folds = pool.folds(encoder.folds, seed)
    kept = KeptArrays(scratch, _key(pool, origin, encoder, teacher, seed))
    rows = _training_rows(pool, folds)
    last = _LastTraining(encoder)
    # a resumed run knows the figures of a fold, but not what was trained
    trains_again = len(rows) == len(pool) or kept.read("fold-0") is not None
    trainings = len(folds) + (trains_again and not measure_only)
    with track("adapt", total=trainings * encoder.steps, enabled=progress) as advance:
        clock = time.monotonic()
        weight, before, after = _cross_validate(encoder, last, pool, folds, kept, advance)
        measured = gains(pool, before, after)
        seconds = {"measure": time.monotonic() - clock}
        if (gained := sure_gain(before, after) > SMALLEST_GAIN) is False or measure_only:
            kept.clear()
            reason = (
                "measured only" if gained else "the pool keeps its encoder: adapting gained nothing by label voting"
            )
            return Adaptation(False, reason, measured, seconds, weight if gained else 0.0)
        clock = time.monotonic()
        trained = last.train(rows, advance)
        seconds["train"] = time.monotonic() - clock
    clock = time.monotonic()
    name = f"{origin.name}, adapted to {store.pool}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = encoder.write(
            trained,
            weight,
            Path(out or temporary),
            name=name,
            adapted_from=_origin(origin),
            card=_card(name, len(rows), measured),
        )
        store.reindex(load_encoder(folder), progress=progress)
    seconds["embed"] = time.monotonic() - clock
    kept.clear()
    reason = "the pool has the adapted encoder now"
    return Adaptation(True, reason, measured, seconds, weight, name, str(out) if out else None)


class _LastTraining:
    """Trains an encoder, and keeps the result until another training begins.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: AdaptableEncoder) -> None:
        self._encoder = encoder
        self._rows: Rows | None = None
        self._trained: Any = None

    def train(self, rows: Rows, advance: Callable[[int], None]) -> Any:
        """Weights trained on these rows of the pool; those of the last training if it had the same rows."""
        if self._rows is None or not np.array_equal(rows, self._rows):
            self._rows = self._trained = None  # their memory is needed
            self._trained = self._encoder.train(rows, advance)
            self._rows = rows
        return self._trained


def _training_rows(pool: Pool, folds: Sequence[tuple[Rows, Rows]]) -> Rows:
    """The rows that the adapted encoder is trained on: those of an only fold that has nearly all, else all."""
    rows, _ = folds[0]
    if len(folds) == 1 and len(rows) >= (1 - LARGEST_UNTRAINED) * len(pool):
        return rows
    return np.arange(len(pool))


def _cross_validate(
    encoder: AdaptableEncoder,
    last: _LastTraining,
    pool: Pool,
    folds: Sequence[tuple[Rows, Rows]],
    kept: KeptArrays,
    advance: Callable[[int], None],
) -> tuple[float, Figures, Figures]:
    """The best interpolation weight, and the figures of the start and of that weight."""
    weights = (0.0, *encoder.interpolation_weights)
    parts: list[list[Figures]] = []
    for number, (rows, queries) in enumerate(folds):
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            advance(steps)

        def fold(rows: Rows = rows, queries: Rows = queries, count: Callable[[int], None] = count) -> Arrays:
            trained = last.train(rows, count)
            encoded = (encoder.encode(trained, each, queries, rows) for each in weights)
            figures = measure(pool, queries, rows, encoded)
            return {
                "rows": figures[0].rows,
                "label_f1": np.array([each.label_f1 for each in figures]),
                "label_recall": np.array([each.label_recall for each in figures]),
            }

        arrays = kept.get(f"fold-{number}", fold)
        advance(encoder.steps - done)
        parts.append(
            [Figures(arrays["rows"], *both) for both in zip(arrays["label_f1"], arrays["label_recall"], strict=True)]
        )
    before, *after = (join(figures) for figures in zip(*parts, strict=True))
    best = max(range(len(after)), key=lambda index: sure_gain(before, after[index]))
    return encoder.interpolation_weights[best], before, after[best]


def _key(pool: Pool, start: Encoder, encoder: AdaptableEncoder, teacher: TeacherSource, seed: int) -> str:
    digest = hashlib.sha256(f"{start.fingerprint} {encoder.steps} {seed}\n".encode())
    if isinstance(teacher, str | Path):
        digest.update(Path(teacher).read_bytes())
    elif teacher is not None:
        digest.update(os.urandom(16))  # an object can't be compared with one of an earlier run
    for example in pool.examples:
        digest.update(example.content_id.encode())
    return digest.hexdigest()[:32]


def starting_encoder(encoder: Encoder, start: Any = None) -> Encoder:
    """The encoder to start from; for an adapted encoder its own start.

    An adapted encoder would be measured on rows that it was trained on. The origin in an encoder's file is followed
    only if it is the package's encoder: a foreign store could name anything.

    Args:
        encoder: The pool's encoder.
        start: Its origin, as for ``load_encoder``, if that is not the package's encoder.

    Raises:
        AdaptationError: It was adapted from another encoder, and ``start`` is not given.
    """
    if not isinstance(encoder, OnnxEncoder | StaticEncoder):
        return encoder if start is None else load_encoder(start)
    config = encoder.config
    if start is None:
        if config.adapted_from is None:
            return encoder
        if config.adapted_from == EMBEDDED:
            return load_encoder()
        raise AdaptationError(
            f"the pool's encoder says that it was adapted from {config.adapted_from!r}; what a file names is not "
            "loaded. If you trust it, give it: store.adapt(start=...), or ruie adapt --start ..."
        )
    is_name = isinstance(start, Path) or (isinstance(start, str) and start != EMBEDDED)
    if is_name and not (Path(start) / CONFIG).is_file():  # a checkpoint, which has no settings
        return SentenceTransformersEncoder(
            start,
            query_prefix=config.query_prefix,
            passage_prefix=config.passage_prefix,
            layout=config.layout,
            keywords=config.keywords,
            max_tokens=config.max_tokens,
        )
    return load_encoder(start)


def _origin(start: Encoder) -> str:
    if load_encoder().fingerprint == start.fingerprint:
        return EMBEDDED
    return str(start.folder.resolve() if isinstance(start, OnnxEncoder | StaticEncoder) else start.name)


def _adaptable(
    start: Encoder, pool: Pool, teacher: TeacherSource, *, steps: int | None, seed: int, progress: bool
) -> AdaptableEncoder:
    if isinstance(start, StaticEncoder):
        settings = StaticTraining(seed=seed, steps=steps or steps_for(len(pool)))
        scorer = load_teacher(pool, teacher, scale=settings.teacher_scale, seed=seed, progress=progress)
        return AdaptableStaticEncoder(start, pool, scorer, settings)
    if isinstance(start, SentenceTransformersEncoder):
        for entry in entry_points(group=CHECKPOINTS):  # nothing here may import the training code
            adaptable: AdaptableEncoder = entry.load()(start, pool, teacher, steps=steps, seed=seed, progress=progress)
            return adaptable
        raise ImportError('adapting a checkpoint needs torch: pip install "ruie-components[train]"')
    raise AdaptationError(
        f"encoder {start.name!r} can't be trained: adapt the embedded encoder, or a sentence-transformers checkpoint. "
        f"An encoder that was exported from a checkpoint is adapted from that checkpoint."
    )


def _card(name: str, rows: int, measured: Sequence[Gain]) -> str:
    lines = [
        f"| {gain.task} | {gain.queries:,} | {gain.label_f1_before:.1f} | {gain.label_f1_after:.1f} "
        f"| {gain.label_recall_before:.1f} | {gain.label_recall_after:.1f} |"
        for gain in measured
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Trained on {rows:,} demonstrations of a pool by `ruie adapt`. Percent, by cross-validation on the pool; "
            "the demonstrations are chosen by label voting:",
            "",
            "| task | queries | label F1@8 before | after | label recall@8 before | after |",
            "|---|---:|---:|---:|---:|---:|",
            *lines,
            "",
        ]
    )

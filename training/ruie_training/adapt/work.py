"""The work of ``store.adapt()``: measure by cross-validation, train on all, put the encoder in place if it gained."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ruie_components.encoders import OnnxEncoder, SentenceTransformersEncoder, StaticEncoder, load_encoder
from ruie_components.encoders.folder import CONFIG
from ruie_components.progress import track
from ruie_training.adapt.measure import Figures, Gain, gains, is_a_gain, join, measure
from ruie_training.adapt.pool import Pool
from ruie_training.errors import TrainingError

if TYPE_CHECKING:
    from ruie_components.encoders import Encoder
    from ruie_components.store import DemonstrationStore
    from ruie_training.adapt.students import Student

ORIGIN = "adapted_from"
"""The key of ``encoder.json`` that says where an adapted encoder started: ``embedded``, or a path or hub name."""

EMBEDDED = "embedded"

LEAST = 10
"""Different texts that a pool needs, so that some can be held out."""


@dataclass(frozen=True)
class Adaptation:
    """What came of it."""

    replaced: bool
    """Whether the pool has the adapted encoder now."""
    reason: str
    """Why, or why not."""
    gains: Sequence[Gain]
    """By task, and ``all`` last where there are several."""
    seconds: Mapping[str, float]
    """``measure``, ``train``, ``embed``."""
    share: float = 0.0
    """How much of the way from the start to the trained weights is gone, as the cross-validation chose."""
    encoder: str | None = None
    """Its name."""
    folder: str | None = None
    """Where it was written, if that was asked for."""


def adapt_store(
    store: DemonstrationStore,
    *,
    out: str | Path | None = None,
    teacher: Any = None,
    measure_only: bool = False,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Adaptation:
    """Train a store's encoder on the store's own pool, and embed the pool again if that gained anything.

    What it gains is measured first, by cross-validation: queries that the training has not seen, for which rows that it
    has seen are chosen by label vote. The encoder is replaced if agreement@8 and half of coverage@8 together rise by
    more than twice the standard error of the difference.
    A pool that was adapted before starts again from the encoder that it had at first.

    Args:
        store: The store. A folder keeps the adapted encoder; a server and a store in memory do not.
        out: A folder for the adapted encoder, to be given to ``open``. A server needs one.
        teacher: ``None`` for label agreement; a file of scored candidates (preferences or rewards); a ``Scorer``.
        measure_only: Change nothing.
        steps: Of a training, instead of the default for this kind of encoder.
        seed: Of all draws.
        progress: Show bars on stderr.

    Returns:
        What was measured, and whether the encoder was replaced.

    Raises:
        TrainingError: The encoder can't be trained, or the teacher doesn't fit.
        StoreError: The store can't be written; it keeps its encoder.
        ImportError: torch is not installed.
    """
    if find_spec("torch") is None:
        raise ImportError('adapting an encoder needs torch: pip install "ruie-components[train]"')
    if out is None and not measure_only and not store.keeps_encoder:
        raise TrainingError("a server can't keep an encoder: say where it shall be written, and give it when you open")
    pool = Pool(list(store.examples()))
    if not len(pool) or int(pool.text.max()) + 1 < LEAST:
        return Adaptation(False, f"a pool needs at least {LEAST} different texts to be adapted to", (), {})
    if len({tuple(row) for row in pool.labels}) < 2:
        return Adaptation(False, "all rows of the pool have the same labels: there is nothing to tell apart", (), {})
    origin = _origin(store.encoder)
    student = _student(origin, pool, teacher, steps=steps, seed=seed, progress=progress)
    started = time.monotonic()
    share, before, after = _cross_validate(student, pool, seed=seed, progress=progress)
    found = gains(pool, before, after)
    seconds = {"measure": time.monotonic() - started}
    if not is_a_gain(before, after):
        return Adaptation(False, "the pool keeps its encoder: adapting gained nothing", found, seconds)
    if measure_only:
        return Adaptation(False, "measured only", found, seconds, share)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(out or scratch)
        started = time.monotonic()
        with track("train on all", total=student.steps, enabled=progress) as advance:
            trained = student.train(np.arange(len(pool)), advance)
        name = f"{origin.name}, adapted to {store.pool}"
        student.write(trained, share, folder, name=name, card=_card(name, len(pool), found))
        _note_origin(folder, origin)
        seconds["train"] = time.monotonic() - started
        started = time.monotonic()
        store.reindex(load_encoder(folder), progress=progress)
        seconds["embed"] = time.monotonic() - started
    reason = "the pool has the adapted encoder now"
    return Adaptation(True, reason, found, seconds, share, name, str(out) if out else None)


def _cross_validate(student: Student, pool: Pool, *, seed: int, progress: bool) -> tuple[float, Figures, Figures]:
    """The best share of the way, and the figures of the start and of that share."""
    folds = pool.folds(student.folds, seed)
    parts: dict[float, list[Figures]] = {share: [] for share in (0.0, *student.shares)}
    with track("cross-validation", total=len(folds) * student.steps, enabled=progress) as advance:
        for rows, asked in folds:
            trained = student.train(rows, advance)
            for share, figures in parts.items():
                figures.append(measure(pool, asked, rows, *student.encode(trained, share, asked, rows)))
    whole = {share: join(figures) for share, figures in parts.items()}
    best = max(student.shares, key=lambda share: float(whole[share].worth.mean()))
    return best, whole[0.0], whole[best]


def _origin(encoder: Encoder) -> Encoder:
    """The encoder to start from: where this one started, if it is an adapted one.

    Starting from itself, it would be measured on rows that it was trained on.
    """
    if not isinstance(encoder, OnnxEncoder | StaticEncoder):
        return encoder
    source = encoder.config.adapted_from
    if not source:
        return encoder
    if source == EMBEDDED:
        return load_encoder()
    if (Path(source) / CONFIG).is_file():
        return load_encoder(source)
    config = encoder.config
    return SentenceTransformersEncoder(
        source,
        query_prefix=config.query_prefix,
        passage_prefix=config.passage_prefix,
        layout=config.layout,
        keywords=config.keywords,
        max_tokens=config.max_tokens,
    )


def _note_origin(folder: Path, origin: Encoder) -> None:
    embedded = load_encoder().fingerprint == origin.fingerprint
    source = (
        EMBEDDED if embedded else str(origin.folder if isinstance(origin, OnnxEncoder | StaticEncoder) else origin.name)
    )
    path = folder / CONFIG
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | {ORIGIN: source}, indent=1) + "\n", "utf-8")


def _student(origin: Encoder, pool: Pool, teacher: Any, *, steps: int | None, seed: int, progress: bool) -> Student:
    from ruie_training.adapt.static_encoder import read_static
    from ruie_training.adapt.static_training import StaticTraining, steps_for
    from ruie_training.adapt.students import StaticStudent
    from ruie_training.adapt.teachers import teacher_of

    if isinstance(origin, StaticEncoder):
        settings = StaticTraining(seed=seed, steps=steps or steps_for(len(pool)))
        chosen = teacher_of(pool, teacher, scale=settings.teacher, seed=seed, progress=progress)
        return StaticStudent(read_static(origin), pool, chosen, settings)
    if isinstance(origin, SentenceTransformersEncoder):
        from ruie_training.adapt.checkpoints import CheckpointStudent

        return CheckpointStudent(origin, pool, teacher, steps=steps, seed=seed, progress=progress)
    raise TrainingError(
        f"encoder {origin.name!r} can't be trained: adapt the embedded encoder, or a sentence-transformers checkpoint. "
        f"An encoder that was exported from a checkpoint is adapted from that checkpoint."
    )


def _card(name: str, rows: int, found: Sequence[Gain]) -> str:
    lines = [
        f"| {gain.task} | {gain.queries:,} | {gain.agreement_before:.1f} | {gain.agreement_after:.1f} "
        f"| {gain.coverage_before:.1f} | {gain.coverage_after:.1f} |"
        for gain in found
    ]
    head = "| task | queries | agreement@8 before | after | coverage@8 before | after |\n|---|---:|---:|---:|---:|---:|"
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Trained on a pool of {rows:,} demonstrations by `ruie adapt`. Percent, by cross-validation on the pool:",
            "",
            head,
            *lines,
            "",
        ]
    )

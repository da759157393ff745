"""Adapts a sentence-transformers checkpoint with the trainer of ``ruie_training.models.bi_encoder``."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ruie_components.adaptation import PairScorer, Pool, ScoredCandidates, TeacherSource, score_candidates
from ruie_components.adaptation.pool import held_out
from ruie_components.adaptation.teachers import read_scored
from ruie_components.encoders import SentenceTransformersEncoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.errors import AdaptationError
from ruie_components.integers import counted
from ruie_training.data.candidates import Candidates, best_first, by_id
from ruie_training.errors import TrainingError
from ruie_training.models.bi_encoder import load_bi_encoder, train_bi_encoder
from ruie_training.models.export import export_encoder
from ruie_training.models.settings import Distil, Optimisation, Split
from ruie_training.preferences import LabelOverlap

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

STEPS = 200
TEMPERATURE = 0.05
TEACHER = 10.0
"""The factor of label F1."""


class AdaptableCheckpoint:
    """A transformer, or static vectors, of sentence-transformers.

    Args:
        encoder: The start, with its prefixes, layout and keyword strategy.
        pool: The pool.
        teacher: As in ``ruie_components.adaptation.adapt``.
        steps: Steps of one training.
        seed: Of all random draws.
        progress: Show bars on stderr.
    """

    interpolation_weights: Sequence[float] = (1.0,)
    folds = 1

    def __init__(
        self,
        encoder: SentenceTransformersEncoder,
        pool: Pool,
        teacher: TeacherSource = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.steps = steps or STEPS
        self._encoder, self._pool, self._seed = encoder, pool, seed
        self._examples = by_id(pool.examples)
        self._scored, scale = _scored(pool, teacher, seed=seed, progress=progress)
        self._settings = Distil(
            model=encoder.name,
            teacher_scale=scale,
            keywords=encoder.keywords,
            layout=encoder.layout,
            query_prefix=encoder.query_prefix,
            passage_prefix=encoder.passage_prefix,
            max_length=_length(encoder) or 512,
            groups=Split(size=8, top=3, bottom=-1),
            temperature=TEMPERATURE,
            optimisation=Optimisation(
                # the paper's for a transformer; static vectors need far larger steps
                learning_rate=1e-2 if encoder.model.transformers_model is None else 3e-5,
                steps=self.steps,
                warmup_steps=self.steps // 10,
                batch_size=max(1, min(32, len(pool) // 4)),
                checkpoint_steps=self.steps,
            ),
        )

    def train(self, rows: Rows, advance: Callable[[int], None]) -> SentenceTransformersEncoder:
        """Train the encoder on these rows."""
        kept = {self._pool.examples[row].content_id for row in rows}
        scored = _among(self._scored, kept)
        self._check_candidates(scored)
        with tempfile.TemporaryDirectory() as scratch:
            model = load_bi_encoder(self._encoder.name, self._settings)
            train_bi_encoder(
                model,
                scored,
                self._examples,
                self._settings,
                Path(scratch),
                seed=self._seed,
                progress=False,
            )
            advance(self.steps)
            return self._loaded(Path(scratch) / "model")

    def _check_candidates(self, scored: Candidates) -> None:
        """Check that a query has enough candidates for a group.

        Raises:
            AdaptationError: The pool has too few rows, or the teacher has scored too few of them.
        """
        groups = self._settings.groups
        needed = groups.top + groups.size - 1
        if (found := max(map(len, scored.candidate_ids))) >= needed:
            return
        texts = next(count for count in itertools.count(1) if count - held_out(count) > needed)
        if all(len(rows) < texts for rows in self._pool.tasks.values()):
            held = ", ".join(counted(len(rows), f"{task} row") for task, rows in self._pool.tasks.items())
            raise AdaptationError(
                f"the pool has {held}, and at least {texts} rows of one task, with different texts, are needed to "
                f"adapt a checkpoint: a fifth is held out, and each of the others is compared with {needed} more. "
                "Annotate more, or adapt the embedded encoder."
            )
        raise AdaptationError(
            f"no row of the pool has more than {counted(found, 'candidate')} with a score among the rows to train on, "
            f"and {needed} are needed to adapt a checkpoint: give a teacher that scores more pairs, or annotate more."
        )

    def _loaded(self, folder: Path) -> SentenceTransformersEncoder:
        settings = self._settings
        return SentenceTransformersEncoder(
            folder,
            query_prefix=settings.query_prefix,
            passage_prefix=settings.passage_prefix,
            layout=settings.layout,
            keywords=settings.keywords,
            max_tokens=_length(self._encoder),
        )

    def encode(
        self, trained: SentenceTransformersEncoder, weight: float, queries: Rows, passage_rows: Rows
    ) -> tuple[Vectors, Vectors]:
        """Vectors of queries and passages, (rows, d)."""
        encoder = trained if weight else self._encoder
        examples = self._pool.examples
        query_vectors = encoder.encode_queries([examples[row].query for row in queries])
        return query_vectors, encoder.encode_examples([examples[row] for row in passage_rows])

    def write(
        self,
        trained: SentenceTransformersEncoder,
        weight: float,
        folder: Path,
        *,
        name: str,
        adapted_from: str,
        card: str,
    ) -> Path:
        """Write it as ONNX."""
        del weight  # the only weight is 1
        model = trained.model.to("cpu")
        config = EncoderConfig(
            name=name,
            query_prefix=self._settings.query_prefix,
            passage_prefix=self._settings.passage_prefix,
            max_tokens=self._settings.max_length,
            layout=self._settings.layout,
            keywords=self._settings.keywords,
            adapted_from=adapted_from,
            dimension=model.get_embedding_dimension(),
        )
        return export_encoder(model, folder, config, card=card)


def _length(encoder: SentenceTransformersEncoder) -> int | None:
    """The maximum number of tokens of a transformer; None for static vectors, which have no limit."""
    return int(encoder.model.max_seq_length) if encoder.model.transformers_model is not None else None


def _scored(pool: Pool, teacher: TeacherSource, *, seed: int, progress: bool) -> tuple[Candidates, float]:
    """Candidates with the teacher's scores, and the factor of the scores."""
    scorer = LabelOverlap() if teacher is None else teacher
    if isinstance(scorer, str | Path):
        rows: ScoredCandidates = read_scored(Path(scorer))
    else:
        rows = score_candidates(pool, scorer, seed, progress=progress) if isinstance(scorer, PairScorer) else scorer
    of_query: dict[str, dict[str, float]] = {}  # a repeated query or candidate counts once, with its last score
    for query, ids, scores in rows:
        finite = {name: score for name, score in zip(ids, scores, strict=True) if math.isfinite(score)}
        of_query.setdefault(query, {}).update(finite)
    kept = [(query, *best_first(tuple(known), tuple(known.values()))) for query, known in of_query.items() if known]
    if not kept:
        raise TrainingError("the teacher has no finite score for any pair of this pool")
    queries, names, scores = zip(*kept, strict=True)
    return Candidates(queries, names, scores, "teacher"), TEACHER if teacher is None else 1.0


def _among(scored: Candidates, kept: set[str]) -> Candidates:
    """The queries and candidates with these ids."""
    queries, names, scores = [], [], []
    for query, ids, values in scored:
        chosen = [i for i, name in enumerate(ids) if name in kept]
        if query in kept and chosen:
            queries.append(query)
            names.append(tuple(ids[i] for i in chosen))
            scores.append(tuple(values[i] for i in chosen))
    if not queries:
        raise TrainingError("none of the scored queries is in this pool: score this pool's rows")
    return replace(scored, query_ids=tuple(queries), candidate_ids=tuple(names), scores=tuple(scores))

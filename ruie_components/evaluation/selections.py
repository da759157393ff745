"""The selections to compare, by name; all but the oracle are those of the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from ruie_components.evaluation.data import EvaluationSet
from ruie_components.labels import count_matrices, label_f1_matrix
from ruie_components.selection import Selector
from ruie_components.selection.candidates import MatrixSource
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, Example, Query

Chosen = list[list[Demonstration]]
"""For each query its demonstrations, best first."""

SELECTIONS = (
    "zero-shot", "random", "bm25", "similarity", "hybrid", "label-vote", "mmr", "label-coverage",
    "adapted", "adapted-hybrid", "adapted-label-vote", "adapted-mmr", "adapted-label-coverage", "oracle",
)  # fmt: skip
"""Names of selections. ``adapted`` is similarity by the adapted encoder, ``oracle`` the best by gold labels."""

WITHOUT_ENCODER = ("zero-shot", "random", "bm25", "oracle")
"""Those that use no encoder, so that the pool's makes no difference to them."""

_ENCODER = re.compile(r"(?P<method>[\w-]+)\[(?P<encoder>.+)\]")
_numbers = count()


@dataclass
class PoolStores:
    """The stores of one evaluation set, built on first use.

    Args:
        data: The set.
        progress: Whether building and adapting show progress.
        encoder: The encoder of selections without a named one. Default: the embedded one.
    """

    data: EvaluationSet
    progress: bool = False
    encoder: Any = None
    _stores: dict[str, DemonstrationStore] = field(default_factory=dict)

    def store(self, encoder: str | None = None) -> DemonstrationStore:
        """The pool in memory, by its encoder or a named one."""
        name = encoder or ""
        if name not in self._stores:
            self._stores[name] = DemonstrationStore.create(
                self.data.pool,
                pool=f"evaluation-{next(_numbers)}",
                encoder=encoder or self.encoder,
                progress=self.progress,
            )
        return self._stores[name]

    @property
    def adapted(self) -> DemonstrationStore:
        """The pool with its encoder adapted to it, if ``store.adapt()`` finds a gain."""
        if "adapted" not in self._stores:
            name = f"evaluation-{next(_numbers)}"
            store = DemonstrationStore.create(self.data.pool, pool=name, encoder=self.encoder, progress=self.progress)
            self._stores["adapted"] = store
            store.adapt(progress=self.progress)
        return self._stores["adapted"]

    def with_inputs(self, inputs: Sequence[Example]) -> PoolStores:
        """The same stores for other inputs."""
        return replace(self, data=replace(self.data, inputs=tuple(inputs)))

    def close(self) -> None:
        """Close all stores."""
        for store in self._stores.values():
            store.close()


def choose(name: str, stores: PoolStores, k: int, *, seed: int = 0) -> Chosen:
    """The demonstrations of a selection for all inputs of a set.

    Args:
        name: One of ``SELECTIONS``, or ``METHOD[ENCODER]``, such as ``similarity[intfloat/e5-base-v2]``.
        stores: The stores of the set.
        k: How many demonstrations.
        seed: Of random choice.

    Raises:
        ValueError: There is no such selection.
    """
    return _selection(name)(stores, [example.query for example in stores.data.inputs], k, seed)


def check_selection(name: str) -> None:
    """Raise ``ValueError`` if there is no such selection."""
    _selection(name)


def _selection(name: str) -> Callable[[PoolStores, Sequence[Query], int, int], Chosen]:
    with_encoder = _ENCODER.fullmatch(name)
    method = with_encoder["method"] if with_encoder else name
    if method not in SELECTIONS or (with_encoder and method in WITHOUT_ENCODER):
        raise ValueError(f"there is no selection {name!r}; there are {', '.join(SELECTIONS)}, and METHOD[ENCODER]")
    if method == "zero-shot":
        return lambda _stores, queries, _k, _seed: [[] for _ in queries]
    if method == "oracle":
        return lambda stores, _queries, k, _seed: _oracle(stores.data, k)
    adapted = method.startswith("adapted")
    by = (method.removeprefix("adapted").removeprefix("-") or "similarity") if adapted else method
    encoder = with_encoder["encoder"] if with_encoder else None

    def select(stores: PoolStores, queries: Sequence[Query], k: int, seed: int) -> Chosen:
        store = stores.adapted if adapted else stores.store(encoder)
        return Selector(by, k=k, seed=seed).select_many(store, queries)

    return select


def _oracle(data: EvaluationSet, k: int) -> Chosen:
    """The demonstrations with the highest label F1 with the gold labels: the upper bound of this proxy."""
    pool = sorted(data.pool, key=lambda example: example.content_id)  # decides ties
    f1 = label_f1_matrix(*count_matrices(data.inputs, pool))
    source = MatrixSource(f1, [example.query for example in data.inputs], pool)
    return [
        [Demonstration(example=candidate.example, score=candidate.score) for candidate in best]
        for best in source.nearest(range(len(data.inputs)), k)
    ]

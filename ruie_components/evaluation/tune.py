"""The best settings for a pool and a model, found on a held-out part of the pool within a budget of calls.

Successive halving (Jamieson and Talwalkar 2016): all settings answer a few inputs, the better half answers more, and so
on. Every round has the inputs of the one before, whose answers are known. The default stays in the race. The winner and
the default then answer inputs that no round has seen, so that the test between them is not one on the inputs by which
the winner was chosen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from ruie_components.chat import ChatModel
from ruie_components.evaluation.cache import AnswerCache, CachedChatModel
from ruie_components.evaluation.data import split_pool
from ruie_components.evaluation.experiment import Measurement, Plan, cells, measure
from ruie_components.evaluation.selections import PoolStores
from ruie_components.evaluation.statistics import Difference, Interval, f1_interval, paired_difference
from ruie_components.progress import track
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.scoring import Counts
from ruie_components.store import DemonstrationStore, TunedSettings
from ruie_components.types import Example, Task

METHODS = ("similarity", "label-vote", "hybrid", "bm25")
"""The methods that are tried unless others are named."""

SIGNIFICANT = 0.05
_SEARCH_SHARE = 0.6  # of the calls; the rest is for the test of the winner
_LEAST_INPUTS = 4  # that every setting answers in the first round
_LEAST_TEST = 8  # inputs of the test
_MODES = ("completion", "chat")


@dataclass(frozen=True)
class Round:
    """One round: how many settings answer how many inputs."""

    settings: int
    inputs: int


@dataclass(frozen=True)
class Trial:
    """What one setting reached in the last round that it was in."""

    settings: TunedSettings
    inputs: int
    f1: Interval


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes:
        task: The task.
        trials: All settings, best first: those of later rounds before those of earlier ones.
        winner: The best settings.
        difference: The winner's F1 less the default's on inputs that no round has seen; ``None`` where the default won.
        test_inputs: How many inputs these are.
        winner_f1: The winner's F1 on them.
        default_f1: The default's.
        calls: How many prompts were answered, by the model or the cache.
        failures: How many of them failed, and count as nothing extracted.
    """

    task: Task
    trials: tuple[Trial, ...]
    winner: TunedSettings
    difference: Difference | None
    test_inputs: int
    winner_f1: Interval
    default_f1: Interval
    calls: int
    failures: int

    @property
    def is_significant(self) -> bool:
        """Whether the winner is better than the default, at p < 0.05."""
        return self.difference is not None and self.difference.value > 0 and self.difference.p < SIGNIFICANT


@dataclass(frozen=True)
class TuningPlan:
    """What tuning will do.

    Attributes:
        settings: The settings that are tried; the default is the first.
        rounds: The rounds.
        test_inputs: Inputs of the final test.
        possible: How many settings there would be without a budget.
        tokens: Tokens to read, about.
    """

    settings: tuple[TunedSettings, ...]
    rounds: tuple[Round, ...]
    test_inputs: int
    possible: int
    tokens: int = 0

    @property
    def calls(self) -> int:
        """Prompts that are answered at most."""
        searched = sum(
            one.settings * (one.inputs - before.inputs)
            for before, one in zip((Round(0, 0), *self.rounds), self.rounds, strict=False)
        )
        return searched + 2 * self.test_inputs


def plan_tuning(
    store: DemonstrationStore,
    model: ChatModel,
    *,
    task: Task | str | None = None,
    calls: int = 600,
    methods: Sequence[str] = METHODS,
    ks: Sequence[int] = (4, 8),
    orders: Sequence[Order] = tuple(Order),
    formats: Sequence[AnswerFormat] = tuple(AnswerFormat),
    seed: int = 0,
) -> TuningPlan:
    """What ``tune`` will do with these arguments; no model is called.

    Raises:
        ValueError: As for ``tune``.
    """
    return _Search(store, model, task, calls, methods, ks, orders, formats, seed).planned()


def tune(
    store: DemonstrationStore,
    model: ChatModel,
    *,
    task: Task | str | None = None,
    calls: int = 600,
    methods: Sequence[str] = METHODS,
    ks: Sequence[int] = (4, 8),
    orders: Sequence[Order] = tuple(Order),
    formats: Sequence[AnswerFormat] = tuple(AnswerFormat),
    cache: AnswerCache | None = None,
    concurrency: int = 1,
    retries: int = 2,
    seed: int = 0,
    progress: bool = True,
) -> Tuning:
    """Find the method, k, order, answer format and, for a GGUF file with a template, mode that give the best F1.

    A part of the pool is held out. An adapted encoder was trained on all of the pool, so the rest is adapted anew for
    the search. Nothing is written: ``store.set_tuned(task, tuning.winner)`` does that.

    Args:
        store: The pool.
        model: The chat model.
        task: The task; the pool's only one if not given.
        calls: How many prompts may be answered.
        methods: Methods to try.
        ks: Numbers of demonstrations to try.
        orders: Orders to try.
        formats: Answer formats to try.
        cache: Keeps answers, so that an interrupted search resumes. Default: in memory.
        concurrency: Requests under way at a time.
        retries: How often a request that failed for a passing reason is repeated.
        seed: Of all draws.
        progress: Whether to show progress on stderr.

    Raises:
        ValueError: The pool has too few annotated rows or several tasks, a method is unknown, or there are too few
            calls.
        ChatModelError: The first requests all failed.
    """
    search = _Search(store, model, task, calls, methods, ks, orders, formats, seed)
    kept = AnswerCache(":memory:") if cache is None else cache  # an empty one is false
    return search.run(kept, concurrency, retries, progress=progress)


class _Search:
    def __init__(
        self,
        store: DemonstrationStore,
        model: ChatModel,
        task: Task | str | None,
        calls: int,
        methods: Sequence[str],
        ks: Sequence[int],
        orders: Sequence[Order],
        formats: Sequence[AnswerFormat],
        seed: int,
    ) -> None:
        self._store, self._seed = store, seed
        self._models = _in_modes(model)
        modes = list(self._models)
        self.default = TunedSettings(mode=_default_mode(model) if len(modes) > 1 else None)
        grid = [
            TunedSettings(method=method, k=k, order=order, answer_format=answer_format, mode=mode)
            for method, k, order, answer_format, mode in product(methods, ks, orders, formats, modes)
        ]
        self._possible = [self.default, *(one for one in grid if one != self.default)]
        self.data = split_pool(store, task, inputs=calls, seed=seed)
        self.task = self.data.task
        tested = min(len(self.data.inputs) // 2, int((1 - _SEARCH_SHARE) * calls) // 2)
        self.test_inputs = self.data.inputs[:tested]
        self.search_inputs = self.data.inputs[tested:]
        self.settings, self.rounds = self._schedule(calls - 2 * tested)
        if tested < _LEAST_TEST or not self.rounds:
            raise ValueError(
                f"{calls} calls and {len(self.data.inputs)} held-out inputs (a quarter of the annotated rows) are too "
                f"few to tune by: the test alone needs {_LEAST_TEST} inputs, and every setting {_LEAST_INPUTS}"
            )

    def _schedule(self, calls: int) -> tuple[list[TunedSettings], list[Round]]:
        """The settings that the calls suffice for, drawn by the seed, and the rounds."""
        most = len(self._possible)
        while most >= 2:
            if (rounds := _rounds(most, calls, len(self.search_inputs))) is not None:
                drawn = random.Random(self._seed).sample(self._possible[1:], most - 1)  # noqa: S311 - no secret
                return [self.default, *drawn], rounds
            most = min(most - 1, most * 3 // 4)
        return [self.default], []

    def planned(self) -> TuningPlan:
        plan = TuningPlan(tuple(self.settings), tuple(self.rounds), len(self.test_inputs), len(self._possible))
        stores = self._stores(progress=False)
        try:
            few = replace(self.data, inputs=self.data.inputs[:5])
            written = [
                prompt.tokens
                for cell in cells(self._plan(self.default, few.inputs), stores=stores)
                for prompt in cell.prompts
            ]
        finally:
            stores.close()
        return replace(plan, tokens=plan.calls * sum(written) // max(1, len(written)))

    def run(self, cache: AnswerCache, concurrency: int, retries: int, *, progress: bool) -> Tuning:
        self._models = {mode: CachedChatModel(model, cache) for mode, model in self._models.items()}
        planned = TuningPlan(tuple(self.settings), tuple(self.rounds), len(self.test_inputs), len(self._possible))
        stores = self._stores(progress=progress)
        known: dict[TunedSettings, Measurement] = {}
        done = 0
        try:
            with track("tune", total=planned.calls, enabled=progress) as advance:

                def answered(settings: TunedSettings, first: int, last: int) -> None:
                    nonlocal done
                    part = _measured(self._plan(settings, self.search_inputs[first:last]), stores, concurrency, retries)
                    known[settings] = _joined(known.get(settings), part)
                    done += last - first
                    advance(last - first)

                racing, before = list(self.settings), 0
                for one in self.rounds:
                    racing = _ranked(racing, known)[: one.settings]
                    if self.default not in racing:
                        racing[-1] = self.default
                    for settings in racing:
                        answered(settings, before, one.inputs)
                    before = one.inputs
                winner = _ranked(racing, known)[0]
                finals = {}
                for settings in dict.fromkeys((winner, self.default)):
                    plan = self._plan(settings, self.test_inputs)
                    finals[settings] = _measured(plan, stores, concurrency, retries)
                    done += len(self.test_inputs)
                    advance(len(self.test_inputs))
        finally:
            stores.close()
        won, default = ({self.data.name: finals[one].counts()} for one in (winner, self.default))
        trials = sorted(known, key=lambda one: (-len(known[one].results), -_f1(known[one])))
        return Tuning(
            self.task,
            tuple(Trial(one, len(known[one].results), f1_interval({"": known[one].counts()})) for one in trials),
            winner,
            paired_difference(won, default) if winner != self.default else None,
            len(self.test_inputs),
            f1_interval(won),
            f1_interval(default),
            done,
            sum(one.failures for one in (*known.values(), *finals.values())),
        )

    def _stores(self, *, progress: bool) -> PoolStores:
        return PoolStores(self.data, progress=progress, encoder=None if self._is_adapted else self._store.encoder)

    @property
    def _is_adapted(self) -> bool:
        config = getattr(self._store.encoder, "config", None)
        return getattr(config, "adapted_from", None) is not None

    def _plan(self, settings: TunedSettings, inputs: Sequence[Example]) -> Plan:
        data = replace(self.data, inputs=tuple(inputs))
        selection = settings.method.value
        if self._is_adapted and selection in ("label-vote", "similarity", "hybrid"):
            selection = "adapted" if selection == "similarity" else f"adapted-{selection}"
        return Plan(
            [data],
            [self._models[settings.mode]],
            [selection],
            [settings.k],
            [settings.order],
            [settings.answer_format],
            seed=self._seed,
        )


def _measured(plan: Plan, stores: PoolStores, concurrency: int, retries: int) -> Measurement:
    (one,) = measure(plan, concurrency=concurrency, retries=retries, stores=stores, progress=False)
    return one


def _joined(known: Measurement | None, part: Measurement) -> Measurement:
    if known is None:
        return part
    names = ("examples", "results", "label_f1", "label_recall", "shared_words")
    return replace(known, **{name: getattr(known, name) + getattr(part, name) for name in names})


def _f1(measurement: Measurement) -> float:
    return sum(measurement.counts(), Counts()).f1


def _ranked(racing: Sequence[TunedSettings], known: dict[TunedSettings, Measurement]) -> list[TunedSettings]:
    """The best first; ties keep their order, in which the default is the first."""
    return sorted(racing, key=lambda one: -_f1(known[one]) if one in known else 0.0)


def _rounds(settings: int, calls: int, inputs: int) -> list[Round] | None:
    """Rounds that halve the settings, each with an equal share of the calls; None where they are too few."""
    count = max(1, math.ceil(math.log2(settings)))
    rounds: list[Round] = []
    answered, racing = 0, settings
    for _ in range(count):
        more = min(calls // (count * racing), inputs - answered)
        if more < (_LEAST_INPUTS if not rounds else 1):
            return rounds or None
        answered += more
        rounds.append(Round(racing, answered))
        racing = max(2, math.ceil(racing / 2) + 1)  # one place is the default's, should it not be among the better
    return rounds


def _in_modes(model: ChatModel) -> dict[str | None, ChatModel]:
    """A model that reads one string or messages in both modes; any other as it is."""
    if getattr(model, "is_auto", False) and getattr(model, "has_template", False):
        return {mode: model.with_mode(mode) for mode in _MODES}  # type: ignore[attr-defined]
    return {None: model}


def _default_mode(model: ChatModel) -> str | None:
    return getattr(model, "mode", None)

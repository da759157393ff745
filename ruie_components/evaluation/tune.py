"""Searches the best settings for a pool and a model on a held-out part of the pool, within a budget of calls.

Successive halving (Jamieson and Talwalkar 2016): all settings answer a few inputs, the better half answers more, and so
on. Every round includes the inputs of the previous one, whose answers are known. The default is never eliminated.
Finally the winner and the default answer inputs of no round, so that they are not tested on the inputs by which the
winner was chosen. Rows with equal texts are all in the pool, all in the rounds, or all in the final test.

Where the calls don't suffice for all settings, those that differ from the default in the fewest choices are tried. Each
choice of the default was made by F1, so another one rarely gains, and two at once still more rarely.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import product

from ruie_components.chat import ChatModel
from ruie_components.evaluation.cache import AnswerCache, CachedChatModel
from ruie_components.evaluation.data import encoder_of, split_by_text, split_pool
from ruie_components.evaluation.experiment import Failures, Measurement, Plan, cells, measure
from ruie_components.evaluation.selections import WITHOUT_ENCODER, PoolStores
from ruie_components.evaluation.statistics import Difference, Interval, f1_interval, paired_difference
from ruie_components.progress import track
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.scoring import Counts
from ruie_components.store import DemonstrationStore, TunedSettings
from ruie_components.types import Example, Task

METHODS = ("similarity", "label-vote", "hybrid", "bm25")
"""The methods to try by default."""

SIGNIFICANT = 0.05
_SEARCH_SHARE = 0.6  # share of the calls; the rest is for the final test
_LEAST_INPUTS = 4  # inputs that every setting answers in the first round
_LEAST_TEST = 8  # inputs of the final test
_LEAST_ROWS = 8 * _LEAST_TEST  # of which a quarter is held out, and half of that is for the final test
_MODES = ("completion", "chat")


@dataclass(frozen=True)
class Round:
    """One round: the number of settings, and of inputs that each answers."""

    settings: int
    inputs: int


@dataclass(frozen=True)
class Trial:
    """The result of one setting in its last round."""

    settings: TunedSettings
    inputs: int
    f1: Interval


@dataclass(frozen=True)
class Tuning:
    """The result of tuning.

    Attributes:
        task: The task.
        trials: All settings, best first: those of later rounds before those of earlier ones.
        winner: The best settings.
        difference: The winner's F1 minus the default's on inputs of no round; ``None`` if the default won.
        test_inputs: The number of these inputs.
        winner_f1: The winner's F1 on them.
        default_f1: The default's.
        calls: The number of prompts answered by the model or the cache.
        failures: The number of failed ones, which count as empty extractions.
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

    @property
    def has_failed(self) -> bool:
        """Whether half of the calls or more failed, so that nothing is known about the settings."""
        return self.failures * 2 >= self.calls


@dataclass(frozen=True)
class TuningPlan:
    """The plan of tuning.

    Attributes:
        settings: The settings to try; the default is the first.
        rounds: The rounds.
        test_inputs: Inputs of the final test.
        possible: The number of settings without a budget.
        tokens: Tokens to read, estimated.
    """

    settings: tuple[TunedSettings, ...]
    rounds: tuple[Round, ...]
    test_inputs: int
    possible: int
    tokens: int = 0

    @property
    def calls(self) -> int:
        """The maximum number of prompts to answer."""
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
    """The plan of ``tune`` for these arguments, without calling a model.

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
    """Find the method, k, order, answer format and, for a GGUF file with a template, mode with the best F1.

    A part of the pool is held out. An adapted encoder was trained on the whole pool, so the search adapts one to the
    rest of the pool. Nothing is written: ``store.set_tuned(task, tuning.winner)`` does that.

    Args:
        store: The pool.
        model: The chat model.
        task: The task; the pool's only one if not given.
        calls: The maximum number of prompts to answer.
        methods: Methods to try.
        ks: Numbers of demonstrations to try.
        orders: Orders to try.
        formats: Answer formats to try.
        cache: A cache of answers, from which an interrupted search resumes. Default: in memory.
        concurrency: The number of concurrent requests.
        retries: How often to repeat a request after a temporary failure.
        seed: Of all random draws.
        progress: Whether to show progress on stderr.

    Raises:
        ValueError: The pool has too few annotated rows or texts, or several tasks; a method is unknown; or there are
            too few calls.
        ChatModelError: The first requests all failed.
    """
    search = _Search(store, model, task, calls, methods, ks, orders, formats, seed)
    with closing(AnswerCache(":memory:")) if cache is None else nullcontext(cache) as kept:  # an empty one is false
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
        self.default = TunedSettings(mode=getattr(model, "mode", None) if len(modes) > 1 else None)
        grid = [
            TunedSettings(method=method, k=k, order=order, answer_format=answer_format, mode=mode)
            for method, k, order, answer_format, mode in product(methods, ks, orders, formats, modes)
        ]
        others = [one for one in grid if one != self.default]
        random.Random(seed).shuffle(others)  # noqa: S311 - no secret
        self._possible = [self.default, *sorted(others, key=self._distance)]
        self.data = split_pool(store, task, inputs=calls, seed=seed, least=_LEAST_ROWS)
        self.task = self.data.task
        allowed = int((1 - _SEARCH_SHARE) * calls) // 2
        self.test_inputs, self.search_inputs = split_by_text(self.data.inputs, min(len(self.data.inputs) // 2, allowed))
        tested = len(self.test_inputs)
        if tested < _LEAST_TEST <= allowed:
            raise ValueError(
                f"pool {store.pool!r} has too few different texts to tune by: the test needs {_LEAST_TEST} inputs, "
                f"with texts by which no setting was chosen, and got {tested}; annotate more texts"
            )
        self.settings, self.rounds = self._schedule(calls - 2 * tested)
        if tested < _LEAST_TEST or not self.rounds:
            raise ValueError(
                f"{calls} calls are too few to tune by: the test needs {_LEAST_TEST} inputs by two settings, for which "
                f"{1 - _SEARCH_SHARE:.0%} of the calls are kept, and every setting {_LEAST_INPUTS} inputs; allow more"
            )

    def _schedule(self, calls: int) -> tuple[list[TunedSettings], list[Round]]:
        """The settings that the calls allow, the most like the default first, and the rounds."""
        most = len(self._possible)
        while most >= 2:
            if (rounds := _rounds(most, calls, len(self.search_inputs))) is not None:
                return self._possible[:most], rounds
            most = min(most - 1, most * 3 // 4)
        return [self.default], []

    def _distance(self, settings: TunedSettings) -> int:
        """In how many choices settings differ from the default."""
        return sum(getattr(settings, name) != getattr(self.default, name) for name in TunedSettings.model_fields)

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
        failures = Failures()
        known: dict[TunedSettings, Measurement] = {}

        def measured(settings: TunedSettings, inputs: Sequence[Example]) -> Measurement:
            plan = self._plan(settings, inputs)
            (one,) = measure(
                plan, concurrency=concurrency, retries=retries, stores=stores, failures=failures, progress=False
            )
            return one

        done = 0
        try:
            with track("tune", total=planned.calls, enabled=progress) as advance:

                def answered(settings: TunedSettings, first: int, last: int) -> None:
                    nonlocal done
                    known[settings] = _joined(known.get(settings), measured(settings, self.search_inputs[first:last]))
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
                    finals[settings] = measured(settings, self.test_inputs)
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
        return PoolStores(self.data, progress=progress, encoder=encoder_of(self._store))

    @property
    def _is_adapted(self) -> bool:
        return encoder_of(self._store) is None

    def _plan(self, settings: TunedSettings, inputs: Sequence[Example]) -> Plan:
        data = replace(self.data, inputs=tuple(inputs))
        selection = settings.method.value
        if self._is_adapted and selection not in WITHOUT_ENCODER:
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


def _joined(known: Measurement | None, part: Measurement) -> Measurement:
    if known is None:
        return part
    names = ("examples", "results", "label_f1", "label_recall", "shared_words", "failed_samples")
    return replace(known, **{name: getattr(known, name) + getattr(part, name) for name in names})


def _f1(measurement: Measurement) -> float:
    return sum(measurement.counts(), Counts()).f1


def _ranked(racing: Sequence[TunedSettings], known: dict[TunedSettings, Measurement]) -> list[TunedSettings]:
    """The best first; ties keep their order, in which the default is the first."""
    return sorted(racing, key=lambda one: -_f1(known[one]) if one in known else 0.0)


def _rounds(settings: int, calls: int, inputs: int) -> list[Round] | None:
    """Rounds that halve the settings, each with an equal share of the calls; None if there are too few calls."""
    count = max(1, math.ceil(math.log2(settings)))
    rounds: list[Round] = []
    answered, racing = 0, settings
    for _ in range(count):
        more = min(calls // (count * racing), inputs - answered)
        if more < (_LEAST_INPUTS if not rounds else 1):
            return rounds or None
        answered += more
        rounds.append(Round(racing, answered))
        racing = max(2, math.ceil(racing / 2) + 1)  # keep the default, even if it is not in the better half
    return rounds


def _in_modes(model: ChatModel) -> dict[str | None, ChatModel]:
    """A model in both modes if it can read one string and messages, else unchanged."""
    if getattr(model, "is_auto", False) and getattr(model, "has_template", False):
        return {mode: model.with_mode(mode) for mode in _MODES}  # type: ignore[attr-defined]
    return {None: model}

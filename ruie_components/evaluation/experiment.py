"""Experiments over sets x selections x k x order x answer format x models: extracts from every input and scores it."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import product
from typing import Any

from ruie_components.answers import Hold
from ruie_components.chat import ChatModel
from ruie_components.errors import PromptTooLongError
from ruie_components.evaluation.cache import AnswerCache, CachedChatModel, request_key
from ruie_components.evaluation.data import EvaluationSet
from ruie_components.evaluation.selections import Chosen, PoolStores, check_selection, choose
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.extraction.extractor import check_hold
from ruie_components.extraction.results import AnswerTruncatedWarning, failed
from ruie_components.labels import label_counts, label_f1, label_recall
from ruie_components.progress import track
from ruie_components.prompts import AnswerFormat, Order, Prompt
from ruie_components.scoring import Counts, Mode, Score, score
from ruie_components.selection import DEFAULT_K
from ruie_components.tokenization import tokenize
from ruie_components.types import Example

_FAILURES_TO_GIVE_UP = 5  # the run is aborted after this many failures without any answer


@dataclass(frozen=True)
class Condition:
    """One cell of an experiment."""

    dataset: str
    model: str
    selection: str
    k: int
    order: Order = Order.SIMILAR_LAST
    answer_format: AnswerFormat = AnswerFormat.LINEAR
    hold: Hold | None = None

    @property
    def setting(self) -> str:
        """The condition without its data set, for the rows of a table."""
        parts = [self.selection, f"k={self.k}"]
        parts += [self.order] if self.order is not Order.SIMILAR_LAST else []
        parts += [self.answer_format] if self.answer_format is not AnswerFormat.LINEAR else []
        parts += [f"hold={self.hold}"] if self.hold else []
        return " ".join(parts)


@dataclass(frozen=True)
class Measurement:
    """The results of one condition for all inputs of its set.

    Attributes:
        condition: The condition.
        examples: The inputs with their gold annotations.
        results: The results; one of a failed request has an ``error``.
        label_f1: For each input the mean label F1 of its demonstrations; NaN without any.
        label_recall: For each input the share of its labels that its demonstrations have; NaN without any.
        shared_words: For each input the mean word F1 (multiset Dice) of its text and its demonstrations' texts; NaN
            without any.
        failed_samples: The number of answers that could not be sampled, for confidence by agreement; the others count.
    """

    condition: Condition
    examples: tuple[Example, ...]
    results: tuple[ExtractionResult, ...]
    label_f1: tuple[float, ...]
    label_recall: tuple[float, ...]
    shared_words: tuple[float, ...]
    failed_samples: int = 0

    def counts(self, mode: Mode = "span") -> tuple[Score, ...]:
        """For each input its true positives, false negatives and false positives, scored once."""
        if mode not in self._counts:
            pairs = zip(self.examples, self.results, strict=True)
            self._counts[mode] = tuple(score([example], [result.extraction], mode) for example, result in pairs)
        return self._counts[mode]

    @cached_property
    def _counts(self) -> dict[Mode, tuple[Score, ...]]:
        return {}

    def counts_by_label(self) -> dict[str, Counts]:
        """The counts of each label over all inputs, by spans."""
        labels: defaultdict[str, Counts] = defaultdict(Counts)
        for counts in self.counts():
            for label, part in counts.labels.items():
                labels[label] += part
        return dict(sorted(labels.items()))

    @property
    def failures(self) -> int:
        """The number of inputs without an answer, which count as empty extractions."""
        return sum(result.error is not None for result in self.results)

    @property
    def seconds(self) -> float:
        """The total duration of all requests."""
        return sum(result.usage.seconds for result in self.results)

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and written, if the model counts them."""
        usages = [result.usage for result in self.results]
        return sum(usage.input_tokens or 0 for usage in usages), sum(usage.output_tokens or 0 for usage in usages)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        sets: The evaluation sets.
        models: The chat models.
        selections: Names of selections, see ``SELECTIONS``.
        ks: Numbers of demonstrations.
        orders: Positions of the most similar demonstration.
        formats: Answer formats.
        holds: Restrictions of answers by a grammar; ``None`` for none.
        seed: Of random choice.
        encoder: The encoder of selections without a named one, as for ``load_encoder``. Default: the embedded one.

    Raises:
        ValueError: There is no such selection, two models have the same name and the same settings, or a model takes
            no grammar and answers are to be held.
    """

    sets: Sequence[EvaluationSet]
    models: Sequence[ChatModel]
    selections: Sequence[str] = ("bm25", "similarity")
    ks: Sequence[int] = (DEFAULT_K,)
    orders: Sequence[Order] = (Order.SIMILAR_LAST,)
    formats: Sequence[AnswerFormat] = (AnswerFormat.LINEAR,)
    holds: Sequence[Hold | None] = (None,)
    seed: int = 0
    encoder: Any = None

    def __post_init__(self) -> None:
        for name in self.selections:
            check_selection(name)
        distinct_names(self.models)
        for hold, model in product(self.holds, self.models):
            check_hold(hold, model)

    @property
    def named_models(self) -> dict[str, ChatModel]:
        """The models by unique names."""
        return dict(zip(distinct_names(self.models), self.models, strict=True))

    def conditions(self, data: EvaluationSet) -> list[Condition]:
        """The conditions of one set; without demonstrations there is one condition for all k and orders."""
        conditions: dict[Condition, None] = {}
        for model, answer_format, hold, name, k, order in product(
            self.named_models, self.formats, self.holds, self.selections, self.ks, self.orders
        ):
            shown = (0, Order.SIMILAR_LAST) if name == "zero-shot" else (k, order)
            conditions[Condition(data.name, model, name, *shown, answer_format, hold)] = None
        return list(conditions)

    def check_reference(self, reference: str | None) -> None:
        """Raise ``ValueError`` where a setting to compare with is none of the plan: before the run, not after it."""
        names = dict.fromkeys(one.setting for data in self.sets for one in self.conditions(data))
        if reference is not None and reference not in names:
            raise ValueError(f"the reference {reference!r} is not measured; there are {', '.join(names)}")


@dataclass(frozen=True)
class Cell:
    """A condition with its prompts, ready to be answered."""

    data: EvaluationSet
    condition: Condition
    extractor: Extractor
    prompts: tuple[Prompt, ...]
    chosen: Chosen


def cells(plan: Plan, *, retries: int = 2, stores: PoolStores | None = None, progress: bool = False) -> Iterator[Cell]:
    """The cells of a plan, one by one, without calling a model.

    Args:
        plan: What to measure.
        retries: How often to repeat a request after a temporary failure.
        stores: The stores of the plan's only set, which stay open. Default: built for each set.
        progress: Whether building and adapting pools show progress.
    """
    given = stores
    for data in plan.sets:
        stores = given.with_inputs(data.inputs) if given else PoolStores(data, progress=progress, encoder=plan.encoder)
        try:
            known: dict[tuple[str, int], Chosen] = {}
            for condition in plan.conditions(data):
                key = (condition.selection, condition.k)
                if key not in known:
                    known[key] = choose(condition.selection, stores, condition.k, seed=plan.seed)
                model = plan.named_models[condition.model]
                extractor = Extractor(
                    stores.store(),
                    model,
                    answer_format=condition.answer_format,
                    order=condition.order,
                    hold=condition.hold,
                    retries=retries,
                )
                prompts = tuple(
                    extractor.write(example.query, shown)
                    for example, shown in zip(data.inputs, known[key], strict=True)
                )
                yield Cell(data, condition, extractor, prompts, known[key])
        finally:
            if given is None:
                stores.close()


@dataclass(frozen=True)
class RunCost:
    """What a run takes.

    Attributes:
        calls: Prompts to answer.
        tokens: Tokens of the prompts, about.
        new_calls: Prompts that a cache doesn't answer, equal ones once.
        new_tokens: Their tokens.
    """

    calls: int
    tokens: int
    new_calls: int
    new_tokens: int


def run_cost(plan: Plan, cache: AnswerCache, *, samples: int = 0, progress: bool = False) -> RunCost:
    """What a run would take; no model is called.

    Args:
        plan: What to measure.
        cache: Answers of earlier runs.
        samples: As for ``measure``.
        progress: Whether building and adapting pools show progress.
    """
    calls = tokens = 0
    new: dict[str, int] = {}
    for cell in cells(plan, progress=progress):
        model = cell.extractor.model
        inner = model.model if isinstance(model, CachedChatModel) else model
        models = [CachedChatModel(inner, cache, sample) for sample in range(samples + 1)]
        for prompt in cell.prompts:
            calls, tokens = calls + len(models), tokens + len(models) * prompt.tokens
            constraint = cell.extractor.constraint(prompt)
            for key in (request_key(one, prompt, constraint) for one in models):
                if key not in new and cache.get(key) is None:
                    new[key] = prompt.tokens
    return RunCost(calls, tokens, len(new), sum(new.values()))


@dataclass
class Failures:
    """The failed requests of a run, which gives up where its first ones all fail.

    A prompt that is longer than the model's context is no reason: another one may fit.
    """

    errors: list[Exception] = field(default_factory=list)
    answered: bool = False

    def check(self) -> None:
        """Raise the first error where nothing has been answered and enough has failed."""
        hopeless = [error for error in self.errors if not isinstance(error, PromptTooLongError)]
        if not self.answered and len(hopeless) >= _FAILURES_TO_GIVE_UP:
            raise hopeless[0]


def measure(
    plan: Plan,
    *,
    concurrency: int = 1,
    retries: int = 2,
    samples: int = 0,
    stores: PoolStores | None = None,
    failures: Failures | None = None,
    progress: bool = True,
) -> list[Measurement]:
    """Run every condition of a plan.

    A failed request counts as an empty extraction, and failures are counted; a run is aborted only if its first
    requests all fail.

    Args:
        plan: What to measure.
        concurrency: The number of concurrent requests.
        retries: How often to repeat a request after a temporary failure.
        samples: How many more answers to sample for each prompt, for confidence by agreement.
        stores: As for ``cells``.
        failures: Those of earlier parts of the same run, which are added to.
        progress: Whether to show progress on stderr.

    Raises:
        ChatModelError: The first requests all failed.
    """
    failures = Failures() if failures is None else failures
    total = sum(len(plan.conditions(data)) * len(data.inputs) for data in plan.sets)
    measurements = []
    with (
        _truncation_untold(),
        track("evaluate", total=total, enabled=progress) as advance,
        ThreadPoolExecutor(concurrency) as executor,
    ):
        for cell in cells(plan, retries=retries, stores=stores, progress=progress):
            results, failed_samples = [], 0
            answer = partial(_answer, cell.extractor, failures, samples)
            for result, missing in executor.map(answer, cell.prompts):
                results.append(result)
                failed_samples += missing
                advance(1)
                try:
                    failures.check()
                except Exception:
                    executor.shutdown(cancel_futures=True)
                    raise
            f1, recall, words = _fit(cell.data.inputs, cell.chosen)
            measurements.append(
                Measurement(cell.condition, cell.data.inputs, tuple(results), f1, recall, words, failed_samples)
            )
    return measurements


@contextmanager
def _truncation_untold() -> Iterator[None]:
    """Without the warning of each truncated answer, which the usage counts.

    Filters of warnings belong to the process: threads that each set and restore them would leave the last one's behind.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswerTruncatedWarning)
        yield


def _answer(extractor: Extractor, failures: Failures, samples: int, prompt: Prompt) -> tuple[ExtractionResult, int]:
    """The result, and the number of failed samples."""
    try:
        result = extractor.answer(prompt)
        failures.answered = True  # before any later failure counts, however late the result is read
        sampled = [_sample(extractor, prompt, i) for i in range(1, samples + 1)]
    except Exception as error:  # no error of one request may lose the other results
        failures.errors.append(error)
        return failed(prompt.query, prompt, error), 0
    missing = sum(one.error is not None for one in sampled)
    return (extractor.agree(result, sampled) if missing < len(sampled) else result), missing


def _sample(extractor: Extractor, prompt: Prompt, i: int) -> ExtractionResult:
    """The result of the ``i``-th sampled answer, with a key of its own in the cache."""
    model = extractor.model
    other = extractor.with_model(model.resample(i)) if isinstance(model, CachedChatModel) else extractor
    try:
        return other.answer(prompt)
    except Exception as error:  # a failed sample does not change the measured answer
        return failed(prompt.query, prompt, error)


def _fit(examples: Sequence[Example], chosen: Chosen) -> Iterator[tuple[float, ...]]:
    """The fit of demonstrations to each input: label F1, label recall, and word F1."""
    count_words = cache(lambda text: Counter(tokenize(text)))  # many inputs share a demonstration
    f1, recall, words = [], [], []
    for example, demonstrations in zip(examples, chosen, strict=True):
        shown = [label_counts(one.example) for one in demonstrations]
        wanted, text = label_counts(example), count_words(example.text)
        f1.append(_mean(label_f1(wanted, each) for each in shown))
        recall.append(label_recall(wanted, shown) if shown else math.nan)
        words.append(_mean(label_f1(text, count_words(one.example.text)) for one in demonstrations))
    return map(tuple, (f1, recall, words))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def distinct_names(models: Sequence[ChatModel]) -> list[str]:
    """Unique names of chat models: equal names get the settings in which the models differ.

    Raises:
        ValueError: Two models have the same name and the same settings.

    >>> from types import SimpleNamespace as Model
    >>> distinct_names([Model(name="a", settings={"mode": "chat"}), Model(name="a", settings={"mode": "completion"})])
    ['a mode=chat', 'a mode=completion']
    """
    names = []
    for model in models:
        others = [other for other in models if other is not model and other.name == model.name]
        differing = sorted(
            key
            for key in {key for one in (model, *others) for key in one.settings}
            if any(other.settings.get(key) != model.settings.get(key) for other in others)
        )
        names.append(" ".join([model.name, *(f"{key}={model.settings.get(key)}" for key in differing)]))
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of the models {', '.join(names)} have the same name and settings: give each once, or with an option "
            "in which they differ"
        )
    return names

"""Precision, recall and F1 of extractions, the paper's way (strings) or by spans (offsets)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from ruie_components.answers import as_linear
from ruie_components.prompts import NOTHING, one_line, render_answer, render_query
from ruie_components.types import Example, Extraction, Task

Mode = Literal["paper", "span"]

_Tally: TypeAlias = Counter[tuple[str, Hashable]]  # label and what is compared, counted

_SPACED = re.compile(r" ?([,:()._;'-]) ?")
_REPEATED = re.compile(r"([,.;])\1+")
_SCHEMA = re.compile(r"^Schema: (?:\[|.*Candidate arguments: \[)(.*)\]", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """True positives, false negatives and false positives, and what follows from them.

    As in the reference code, precision is 0 without predictions, recall is 0 without gold annotations, and F1 is 0 if
    both are 0. An input without annotations that is answered with ``None`` counts nothing.
    """

    tp: int = 0
    fn: int = 0
    fp: int = 0

    @property
    def precision(self) -> float:
        """The share of predictions that are correct."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """The share of gold annotations that were predicted."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.tp / (2 * self.tp + self.fn + self.fp) if self.tp else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp)


@dataclass(frozen=True)
class Score(Counts):
    """The micro-averaged result over all examples, and its parts.

    A label of several tasks or data sets is counted over all of them; score them separately to separate it.
    """

    mode: Mode = "paper"
    labels: Mapping[str, Counts] = field(default_factory=dict)
    tasks: Mapping[Task, Counts] = field(default_factory=dict)
    datasets: Mapping[str, Counts] = field(default_factory=dict)
    """By ``example.dataset``; examples without one are omitted."""


class AnswerScore(NamedTuple):
    """Gold answers and predictions, normalised, sorted and without repeats; and the counts."""

    truth: list[str]
    predicted: list[str]
    tp: int
    fn: int
    fp: int


def normalise(text: str) -> str:
    """Normalise an answer as the reference code does.

    White space is collapsed, and dropped around ``, : ( ) . _ ; ' -``; braces are dropped, repeated ``, . ;`` count
    once, typographic apostrophes become ASCII, case is lowered, and every "location" becomes "located". The last is a
    quirk, kept because published figures include it.

    >>> normalise("Location:  John M. Olin ( NF - kappa B )")
    'located:john m.olin(nf-kappa b)'
    """
    text = _SPACED.sub(r"\1", " ".join(text.split())).lower()
    text = _REPEATED.sub(r"\1", text.replace("{", "").replace("}", ""))
    return text.replace("\u2019", "'").replace("location", "located")


def score_answers(task: Task | str, query_block: str, gold_answer: str, generated_answer: str) -> AnswerScore:
    r"""Compare two answers in the linear format as strings, as the reference code of the paper does.

    Kept, so that figures can be compared: both sides are sets, so repeats count once; an answer is split at every
    semicolon, even within spans; a prediction begins at the first schema label with a colon in its part, at any
    position, and parts without one count nothing; an NER span counts only if it occurs anywhere in the query block (the
    schema included), with the same white space and hyphens; spans of other tasks need not occur. Not kept: labels are
    compared literally instead of as a regular expression. ``None`` is an empty set: against ``None`` it counts nothing.

    Args:
        task: The task.
        query_block: The block of ``prompts.render_query``. Its schema is cut at commas, as in the reference.
        gold_answer: The correct answer.
        generated_answer: The model's.

    Raises:
        ValueError: The query block has no schema line.

    >>> block = 'Task: Named entity recognition\nSchema: [person]\nInput: "Ada met Bob."\nOutput:'
    >>> score_answers("NER", block, "person: Ada; person: Bob", "Sure! person: ADA")[2:]
    (1, 1, 0)
    """
    schema = _SCHEMA.search(query_block)
    if schema is None:
        raise ValueError(f"the query block has no line 'Schema: [label, ...]'; it begins {query_block[:80]!r}")
    return _compare(Task(task), query_block, _names(tuple(schema[1].split(", "))), gold_answer, generated_answer)


def _compare(task: Task, block: str, names: _Names, gold: str, generated: str) -> AnswerScore:
    truth = {piece for piece in _pieces(gold) if piece != NOTHING.lower()}
    predicted = _predictions(names.labelled, generated)
    if task is Task.NER:
        shown = block.lower()
        predicted = {piece: label for piece, label in predicted.items() if piece[len(label) + 1 :] in shown}
    hits = len(truth & predicted.keys())
    return AnswerScore(sorted(truth), sorted(predicted), hits, len(truth) - hits, len(predicted) - hits)


def _pieces(answer: str) -> list[str]:
    return [piece for piece in (piece.strip() for piece in normalise(answer).split(";")) if piece]


class _Names(NamedTuple):
    labels: Mapping[str, str]  # the labels of a schema by their normalised names, the longest name first
    labelled: re.Pattern[str]


@lru_cache(maxsize=256)  # the inputs of a data set share few schemas
def _names(labels: tuple[str, ...]) -> _Names:
    by_name = {normalise(label).strip(): label for label in reversed(labels)}
    ordered = sorted(by_name, key=len, reverse=True)
    labelled = re.compile(f"({'|'.join(re.escape(name) for name in ordered if name)}):")
    return _Names({name: by_name[name] for name in ordered}, labelled)


def _predictions(labelled: re.Pattern[str], answer: str) -> dict[str, str]:
    """The predictions of an answer, each with its label."""
    matches = [(piece, labelled.search(piece)) for piece in _pieces(answer)]
    return {piece[match.start() :]: match[1] for piece, match in matches if match}


def score(examples: Sequence[Example], extractions: Sequence[Extraction], mode: Mode = "paper") -> Score:
    """Score extractions against labelled examples, one to one.

    Args:
        examples: The gold examples.
        extractions: The extractions from the same texts, in the same order.
        mode: ``paper`` compares the model's answers as strings (see :func:`score_answers`): JSON answers in their
            linear form, and an extraction without an answer by its annotations. ``span`` compares labels and offsets of
            the annotations: repeats count, rejected parts do not; both spans of a relation must match; for EAE only the
            arguments count.

    Returns:
        Micro-averaged precision, recall, F1 and counts; the same per label, task and data set.

    Raises:
        ValueError: Lengths, tasks or texts differ, or the mode is unknown.
    """
    if mode not in ("paper", "span"):
        raise ValueError(f"unknown mode {mode!r}; there are 'paper' and 'span'")
    if len(examples) != len(extractions):
        raise ValueError(f"{len(examples)} examples and {len(extractions)} extractions; give one extraction an example")
    total = Counts()
    labels: defaultdict[str, Counts] = defaultdict(Counts)
    tasks: defaultdict[Task, Counts] = defaultdict(Counts)
    datasets: defaultdict[str, Counts] = defaultdict(Counts)
    for index, (example, extraction) in enumerate(zip(examples, extractions, strict=True)):
        if (example.task, example.text) != (extraction.task, extraction.text):
            raise ValueError(
                f"example {index} and extraction {index} have another task or text; give both in the same order"
            )
        if mode == "span":
            by_label = _count(_annotations(example), _annotations(extraction))
        else:
            by_label = _by_strings(example, extraction)
        counts = sum(by_label.values(), Counts())
        total += counts
        tasks[example.task] += counts
        if example.dataset is not None:
            datasets[example.dataset] += counts
        for label, part in by_label.items():
            labels[label] += part
    return Score(total.tp, total.fn, total.fp, mode, dict(sorted(labels.items())), dict(tasks), dict(datasets))


def _by_strings(example: Example, extraction: Extraction) -> dict[str, Counts]:
    query = example.query
    generated = as_linear(extraction.answer, query) if extraction.answer else _rendered(extraction)
    names = _names(tuple(example.labels))
    compared = _compare(example.task, render_query(query), names, render_answer(example), generated)

    def label_of(piece: str) -> str:
        return next((label for name, label in names.labels.items() if piece.startswith(f"{name}:")), "")

    truth: _Tally = Counter((label_of(piece), piece) for piece in compared.truth)
    predicted: _Tally = Counter((label_of(piece), piece) for piece in compared.predicted)
    return _count(truth, predicted)


def _rendered(extraction: Extraction) -> str:
    items = [(label, ", ".join(span.text for span in spans)) for label, spans in extraction.annotations]
    return "; ".join(f"{label}: {one_line(answered)}" for label, answered in items)


def _annotations(annotated: Example | Extraction) -> _Tally:
    return Counter((label, tuple(span.offsets for span in spans)) for label, spans in annotated.annotations)


def _count(truth: _Tally, predicted: _Tally) -> dict[str, Counts]:
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for key in {**truth, **predicted}:
        hits = min(truth[key], predicted[key])
        counts[key[0]] += Counts(hits, truth[key] - hits, predicted[key] - hits)
    return dict(counts)

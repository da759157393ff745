"""What two options of prompts gain and cost with an LLM: fixed demonstrations, and descriptions of labels.

    python benchmarks/prompt_options.py fixed --sets NER/mit-movie-trivia NER/conll04 --model gguf:model.gguf
    python benchmarks/prompt_options.py descriptions --model gguf:model.gguf

``fixed``: only chosen demonstrations, some fixed ones before the chosen ones, only fixed ones. A fixed demonstration
comes first in every prompt, so a model that keeps the beginning of the prompt before need not read it again.

``descriptions``: with and without descriptions of the labels, for a pool that has all labels, and for one that has only
half of them: of the other half no demonstration shows what they mean. The descriptions are in this file.

The inputs of all ways are the same. Answers are kept in --cache: an interrupted run resumes. Prints span F1, averaged
over the sets, with its interval; the paired difference from the way above that has neither; the tokens read, and those
of them that repeat the beginning of the previous prompt.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from common import DATA, WORK, machine

from ruie_components import DemonstrationStore, Example, Extractor
from ruie_components.chat import ChatModel
from ruie_components.cli.options import chat_model
from ruie_components.evaluation import AnswerCache, CachedChatModel, EvaluationSet, read_set
from ruie_components.evaluation.statistics import f1_interval, paired_difference
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.run_folder import RESULTS, Summary, whole_rows
from ruie_components.scoring import Counts, score
from ruie_components.types import Extraction

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "NER/mit-movie-trivia": {
        "actor": "a person who plays in the movie",
        "award": "a prize that the movie won or was nominated for",
        "character name": "the name of a role in the movie",
        "director": "a person who directed the movie",
        "genre": "the kind of movie, such as comedy or western",
        "opinion": "a judgement about the movie, such as classic or acclaimed",
        "origin": "what the movie is based on, such as a novel",
        "plot": "what happens in the movie",
        "quote": "a line that is spoken in the movie",
        "relationship": "how the movie relates to another, such as sequel or remake",
        "soundtrack": "a song of the movie",
        "year": "when the movie came out, a year or a decade",
    },
    "NER/conll04": {
        "location": "a city, country, region or other place",
        "organization": "a company, agency, party or other institution",
        "other": "a name or number that is no place, institution or person: a date, an event, a product",
        "person": "the name of a human being",
    },
}


@dataclass(frozen=True)
class Way:
    """One way to extract."""

    name: str
    options: Mapping[str, Any]
    """Of the Extractor."""
    pool: Callable[[EvaluationSet], Sequence[Example]] = attrgetter("pool")
    labels: Callable[[EvaluationSet], Sequence[str]] | None = None
    """The labels that count; default: all."""
    descriptions: bool = False

    @property
    def is_base(self) -> bool:
        """Whether the ways below are compared with this one."""
        return not self.descriptions and "fixed" not in self.options


FIXED = [
    Way("4 chosen", {"k": 4}),
    Way("2 fixed, 2 chosen", {"k": 2, "fixed": 2}),
    Way("4 fixed, 4 chosen", {"k": 4, "fixed": 4}),
    Way("4 fixed", {"k": 0, "fixed": 4}),
]


def unseen(data: EvaluationSet) -> list[str]:
    """Every second label, by name: the ones that the smaller pool has no example of."""
    return sorted({label for example in data.inputs for label in example.labels})[1::2]


def without_unseen(data: EvaluationSet) -> list[Example]:
    """The pool without the unseen labels: rows that have one of them are left out, and schemas don't name them."""
    hidden = set(unseen(data))
    rows = (example for example in data.pool if hidden.isdisjoint(label for label, _ in example.annotations))
    return [row.model_copy(update={"labels": tuple(each for each in row.labels if each not in hidden)}) for row in rows]


def seen(data: EvaluationSet) -> list[str]:
    """The other labels."""
    return sorted({label for example in data.inputs for label in example.labels} - set(unseen(data)))


WITH_DESCRIPTIONS = [
    Way(f"{pool}{', with descriptions' if described else ''}", {"k": 4}, rows, labels, described)
    for pool, rows, labels in (
        ("pool with all labels", attrgetter("pool"), None),
        ("pool with half of the labels: those", without_unseen, seen),
        ("pool with half of the labels: the others", without_unseen, unseen),
    )
    for described in (False, True)
]


@dataclass
class Measured:
    """What a way gave."""

    counts: dict[str, list[Counts]] = field(default_factory=dict)
    """For each set, of each input."""
    summaries: list[Summary] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of a field of the summaries."""
        return sum(getattr(summary, name) for summary in self.summaries)


def measure(way: Way, data: Sequence[EvaluationSet], model: ChatModel) -> Measured:
    """Extract from the inputs of all sets."""
    measured = Measured()
    for each in data:
        descriptions = DESCRIPTIONS[each.name] if way.descriptions else False
        with (
            tempfile.TemporaryDirectory() as folder,
            DemonstrationStore.create(way.pool(each), progress=False) as store,
        ):
            extractor = Extractor(store, model, descriptions=descriptions, **way.options)
            documents = [(f"input {i}", {"query": example.query}) for i, example in enumerate(each.inputs)]
            summary = extract_corpus(extractor, documents, folder, concurrency=1, total=len(documents))
            found = [Extraction.model_validate(row["extraction"]) for _, row in whole_rows(Path(folder) / RESULTS)]
        scores = [score([gold], [one], "span").labels for gold, one in zip(each.inputs, found, strict=True)]
        counted = None if way.labels is None else set(way.labels(each))
        measured.counts[each.name] = [
            sum((part for label, part in by_label.items() if counted is None or label in counted), Counts())
            for by_label in scores
        ]
        measured.summaries.append(summary)
    return measured


def report(ways: Sequence[Way], data: Sequence[EvaluationSet], model: ChatModel) -> None:
    """Print a row for each way."""
    print("| | F1 | difference | tokens read | of them shared | failed |")
    print("|---|---|---|---:|---:|---:|")
    for way in ways:
        measured = measure(way, data, model)
        difference = ""
        if way.is_base:
            base = measured
        else:
            difference = str(paired_difference(measured.counts, base.counts))
        read = measured.total("input_tokens")
        print(
            f"| {way.name} | {f1_interval(measured.counts)} | {difference} | {read:,} | "
            f"{100 * measured.total('shared_tokens') / max(read, 1):.0f}% | {measured.total('failed')} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("option", choices=["fixed", "descriptions"])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", default=list(DESCRIPTIONS), help="TASK/NAME")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--inputs", type=int, default=20, help="of each set")
    parser.add_argument("--model", "-m", help="as for ruie extract; default: the baseline")
    parser.add_argument("--model-option", action="append", help="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=WORK / "prompt_options.sqlite")
    given = parser.parse_args()
    if given.option == "descriptions" and (missing := sorted(set(given.sets) - set(DESCRIPTIONS))):
        parser.error(f"there are no descriptions of {', '.join(missing)}: write them in this file")
    data = [read_set(given.data, name, split=given.split, inputs=given.inputs, seed=given.seed) for name in given.sets]
    print(machine())
    with closing(AnswerCache(given.cache)) as cache:
        model = CachedChatModel(chat_model(given.model, given.model_option), cache)
        report(FIXED if given.option == "fixed" else WITH_DESCRIPTIONS, data, model)


if __name__ == "__main__":
    main()

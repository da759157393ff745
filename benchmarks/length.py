"""Quality against length: sentences joined to documents, extracted in one piece and in chunks.

    python benchmarks/length.py --set NER/conll04 --model gguf:model.gguf --out .benchmarks/length

The inputs of a set are joined, 1, 2, 4, 8, 16 and 32 to a document. Every length has the same sentences, so that only
the length differs. Each document is extracted whole, and in chunks of so many tokens. Demonstrations are single
sentences of the train split. Answers are kept in --cache: an interrupted run resumes, and a document that is one chunk
is one request in both columns.

Prints precision, recall and F1 by spans, the 95% interval of F1 by resampling sentences, the requests, and the tokens
read and written. With --out also a table and a plot.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import DATA, WORK, machine

from ruie_components import DemonstrationStore, Example, Extractor
from ruie_components.cli.options import chat_model
from ruie_components.evaluation import AnswerCache, CachedChatModel, EvaluationSet, read_set
from ruie_components.evaluation.statistics import f1_interval
from ruie_components.extraction import Chunking
from ruie_components.scoring import Counts, score
from ruie_components.types import Extraction, Task

LENGTHS = (1, 2, 4, 8, 16, 32)
SEPARATOR = " "
WHOLE = 10**9  # tokens of a chunk that holds any document


@dataclass(frozen=True)
class Figures:
    """What one length gave in one way."""

    sentences: int
    chunk_tokens: int | None
    """None for whole documents."""
    documents: int
    precision: float
    recall: float
    f1: float
    low: float
    high: float
    requests: int
    input_tokens: int
    output_tokens: int
    truncated: int
    failed: int
    seconds: float


def joined(examples: Sequence[Example], length: int) -> Iterator[Example]:
    """Documents of so many examples each, with the offsets of the gold annotations moved; a remainder is left out.

    The labels of a document are those of its examples, each once.
    """
    for start in range(0, len(examples) - length + 1, length):
        sentences = examples[start : start + length]
        document = {"entities": [], "relations": [], "events": []}
        for offset, example in placed(sentences):
            for name, found in document.items():
                found += [_moved(each.model_dump(), offset) for each in getattr(example, name)]
        labels = dict.fromkeys(label for example in sentences for label in example.labels)
        text = SEPARATOR.join(example.text for example in sentences)
        yield Example(task=sentences[0].task, text=text, labels=list(labels), **document)


def placed(sentences: Sequence[Example]) -> Iterator[tuple[int, Example]]:
    """The sentences of a document, each with the offset at which it begins."""
    offset = 0
    for sentence in sentences:
        yield offset, sentence
        offset += len(sentence.text) + len(SEPARATOR)


def sentence_counts(sentence: Example, offset: int, extraction: Extraction) -> Counts:
    """The counts of what was extracted from one sentence of a document.

    Args:
        sentence: The sentence, with its gold annotations.
        offset: Where it begins in the document.
        extraction: What was extracted from the document. A relation belongs to the sentence of its head, an event to
            that of its trigger.
    """
    gold, found = {}, {}
    for name, anchor in (("entities", ""), ("relations", "head"), ("events", "trigger")):
        gold[name] = [_moved(each.model_dump(), offset) for each in getattr(sentence, name)]
        found[name] = tuple(
            each
            for each in getattr(extraction, name)
            if offset <= getattr(each, anchor, each).start < offset + len(sentence.text)
        )
    expected = Example(task=sentence.task, text=extraction.text, labels=extraction.labels, **gold)
    return score([expected], [extraction.model_copy(update=found)], "span")


def _moved(value: Any, by: int) -> Any:
    if isinstance(value, dict):
        return {key: each + by if key in ("start", "end") else _moved(each, by) for key, each in value.items()}
    return [_moved(each, by) for each in value] if isinstance(value, list | tuple) else value


def measure(
    data: EvaluationSet,
    model: Any,
    lengths: Sequence[int] = LENGTHS,
    chunk_tokens: Sequence[int] = (64,),
    *,
    concurrency: int = 1,
    **options: Any,
) -> Iterator[Figures]:
    """Extract from the joined inputs, length by length: whole first, then by each size of chunk."""
    with DemonstrationStore.create(data.pool, progress=False) as store:
        extractor = Extractor(store, model, **options)
        for length in lengths:
            documents = list(joined(data.inputs, length))
            for size in (None, *chunk_tokens):
                chunking = Chunking(max_tokens=size or WHOLE)
                queries = [document.query for document in documents]
                results = extractor.extract_documents(queries, chunking, concurrency=concurrency)
                found = score(documents, [result.extraction for result in results], "span")
                counts = [
                    sentence_counts(sentence, offset, result.extraction)
                    for number, result in enumerate(results)
                    for offset, sentence in placed(data.inputs[number * length : (number + 1) * length])
                ]
                interval = f1_interval({data.name: counts})
                parts = [part.result for result in results for part in result.chunks]
                yield Figures(
                    length, size, len(documents), found.precision, found.recall, found.f1, interval.low / 100,
                    interval.high / 100, len(parts),
                    sum(part.usage.input_tokens or (part.prompt.tokens if part.prompt else 0) for part in parts),
                    sum(part.usage.output_tokens or 0 for part in parts),
                    sum(part.usage.truncated for part in parts),
                    sum(part.error is not None for part in parts),
                    round(sum(part.usage.seconds for part in parts), 1),
                )  # fmt: skip


def table(figures: Sequence[Figures]) -> str:
    """A row for each length and way."""
    lines = [
        "| sentences | documents | way | precision | recall | F1 | requests | tokens read | written | truncated | "
        "failed | s |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in figures:
        precision, recall, f1, low, high = (
            f"{100 * value:.1f}" for value in (one.precision, one.recall, one.f1, one.low, one.high)
        )
        quality = f"{precision} | {recall} | {f1} [{low}, {high}]"
        lines.append(
            f"| {one.sentences} | {one.documents} | {_way(one)} | {quality} | {one.requests} | {one.input_tokens:,} | "
            f"{one.output_tokens:,} | {one.truncated} | {one.failed} | {one.seconds:,.0f} |"
        )
    return "\n".join(lines)


def _way(one: Figures) -> str:
    return f"chunks of {one.chunk_tokens}" if one.chunk_tokens else "whole"


def plot(figures: Sequence[Figures], path: Path) -> None:
    """Precision and recall over the length, a line for each way."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for axis, name in zip(axes, ("precision", "recall"), strict=True):
        for way in dict.fromkeys(map(_way, figures)):
            points = [(one.sentences, getattr(one, name)) for one in figures if _way(one) == way]
            axis.plot(*zip(*points, strict=True), marker="o", label=way)
        axis.set(title=name, xlabel="sentences of a document", xscale="log", ylim=(0, 1))
        axis.set_xticks(sorted({one.sentences for one in figures}))
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.minorticks_off()
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of data sets")
    parser.add_argument("--set", required=True, help="TASK/NAME; NER, RE or ED")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--inputs", type=int, default=64, help="sentences; a multiple of the longest is best")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[64], help="tokens of the text in a chunk")
    parser.add_argument("--model", "-m", help="as for ruie extract; default: the baseline")
    parser.add_argument("--model-option", action="append", help="KEY=VALUE")
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, help="of a prompt; demonstrations are dropped until it fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=WORK / "length.sqlite")
    parser.add_argument("--out", type=Path, help="folder of the table and the plot")
    given = parser.parse_args()
    data = read_set(given.data, given.set, split=given.split, inputs=given.inputs, seed=given.seed)
    if data.task is Task.EAE:
        parser.error("the arguments of one event are asked for in one sentence: give a set of NER, RE or ED")
    print(machine())
    figures = []
    with closing(AnswerCache(given.cache)) as cache:
        model = CachedChatModel(chat_model(given.model, given.model_option), cache)
        for one in measure(
            data, model, given.lengths, given.chunk_tokens,
            concurrency=given.concurrency, k=given.k, max_tokens=given.max_tokens,
        ):  # fmt: skip
            figures.append(one)
            print(table([one]).splitlines()[-1] if len(figures) > 1 else table([one]), flush=True)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "length.json").write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")
        (given.out / "length.md").write_text(table(figures) + "\n")
        plot(figures, given.out / "length.png")


if __name__ == "__main__":
    main()

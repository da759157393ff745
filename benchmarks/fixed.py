"""What demonstrations that stay the same cost and save: F1, and the tokens that prompts begin with in common.

    python benchmarks/fixed.py --sets NER/mit-movie-trivia NER/conll04 --model gguf:model.gguf

Extracts the same inputs in several ways, one after another: only chosen demonstrations, some fixed ones before the
chosen ones, only fixed ones. A fixed demonstration comes first in every prompt, so a model that keeps the beginning of
the prompt before need not read it again. Answers are kept in --cache: an interrupted run resumes.

Prints span F1, averaged over the sets, with its interval; the paired difference from the first way; the tokens read,
and those of them that begin the prompt before too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from common import DATA, WORK, machine

from ruie_components import DemonstrationStore, Extractor
from ruie_components.chat import ChatModel
from ruie_components.cli.options import chat_model
from ruie_components.evaluation import AnswerCache, CachedChatModel, EvaluationSet, read_set
from ruie_components.evaluation.statistics import f1_interval, paired_difference
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.run_folder import RESULTS, Summary, whole_rows
from ruie_components.scoring import Counts, score
from ruie_components.types import Extraction

WAYS = ((4, 0), (2, 2), (4, 4), (0, 4))
"""The numbers of chosen and of fixed demonstrations."""


def measure(data: EvaluationSet, model: ChatModel, k: int, fixed: int) -> tuple[list[Counts], Summary]:
    """The counts of each input, and the summary of the run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        DemonstrationStore.create(data.pool, progress=False) as store,
    ):
        extractor = Extractor(store, model, k=k, fixed=fixed)
        documents = [(f"input {i}", {"query": example.query}) for i, example in enumerate(data.inputs)]
        summary = extract_corpus(extractor, documents, folder, concurrency=1, total=len(documents))
        found = [Extraction.model_validate(row["extraction"]) for _, row in whole_rows(Path(folder) / RESULTS)]
    return [score([gold], [one], "span") for gold, one in zip(data.inputs, found, strict=True)], summary


def report(data: Sequence[EvaluationSet], model: ChatModel, ways: Sequence[tuple[int, int]] = WAYS) -> None:
    """Print a row for each way."""
    print("| chosen | fixed | F1 | difference | tokens read | of them shared | failed |")
    print("|---:|---:|---|---|---:|---:|---:|")
    first = None
    for k, fixed in ways:
        counts, read, shared, failed = {}, 0, 0, 0
        for each in data:
            counts[each.name], summary = measure(each, model, k, fixed)
            read, shared = read + summary.input_tokens, shared + summary.shared_tokens
            failed += summary.failed
        first = first or counts
        difference = "" if counts is first else str(paired_difference(counts, first))
        print(
            f"| {k} | {fixed} | {f1_interval(counts)} | {difference} | {read:,} | {100 * shared / max(read, 1):.0f}% | "
            f"{failed} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", required=True, help="TASK/NAME")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--inputs", type=int, default=20, help="of each set")
    parser.add_argument("--model", "-m", help="as for ruie extract; default: the baseline")
    parser.add_argument("--model-option", action="append", help="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=WORK / "fixed.sqlite")
    given = parser.parse_args()
    data = [read_set(given.data, name, split=given.split, inputs=given.inputs, seed=given.seed) for name in given.sets]
    print(machine())
    with closing(AnswerCache(given.cache)) as cache:
        report(data, CachedChatModel(chat_model(given.model, given.model_option), cache))


if __name__ == "__main__":
    main()

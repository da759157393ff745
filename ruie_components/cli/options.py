"""The options that several commands share, and how they become a query and a selector."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from ruie_components.answers import Hold
from ruie_components.cli.console import errors
from ruie_components.errors import RowError, RuieError, explain
from ruie_components.formats.texts import guess_layout, read_texts
from ruie_components.integers import counted
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import EventQuery, Query, Task

if TYPE_CHECKING:  # commands without a chat model don't load its dependencies
    from ruie_components.chat import ChatModel

StorePath = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        help="Folder of the store, or the URL of a Chroma server. Default: the starter pool.",
        show_default=False,
    ),
]
Pool = Annotated[str, typer.Option("--pool", help="Name of the pool in the store.")]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Exported encoder folder, sentence-transformers path or hub name; or `embedded`, the default.",
        show_default=False,
    ),
]
TextArgument = Annotated[
    str | None, typer.Argument(help="The text. Without it, standard input is read.", show_default=False)
]
TaskOption = Annotated[
    Task | None,
    typer.Option(
        "--task", "-t", help="The task. Default: the pool's only task.", case_sensitive=False, show_default=False
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label", "-l", help="A label to extract; repeatable. Default: all labels of the pool.", show_default=False
    ),
]
EventOption = Annotated[
    str | None,
    typer.Option(help='For EAE, the event whose arguments to extract: "event type: trigger".', show_default=False),
]
K = Annotated[
    int | None,
    typer.Option("-k", "--k", min=0, help="Number of demonstrations. Default: as tuned, else 4.", show_default=False),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="Selection method: similarity, label-vote, hybrid, mmr, label-coverage, random or bm25. Default: as "
        "tuned, else similarity.",
        show_default=False,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="ollama:NAME, openai:NAME, gguf:PATH, another PROVIDER:NAME of LangChain's, the URL of a server that "
        "speaks OpenAI's protocol, or baseline. Options may follow the name: 'gguf:PATH mode=chat'. Default: the "
        "baseline, which only copies from the demonstrations.",
        show_default=False,
    ),
]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--model-option",
        metavar="KEY=VALUE",
        help="An option of the model, such as temperature=0, num_predict=4096, reasoning=false, "
        "base_url=http://localhost:8000/v1; repeatable.",
        show_default=False,
    ),
]


class HoldOption(StrEnum):
    """The restriction of answers."""

    NONE = "none"
    LABELS = "labels"
    SPANS = "spans"

    @property
    def value_or_none(self) -> Hold | None:
        """The value for ``Extractor``."""
        return None if self is HoldOption.NONE else "labels" if self is HoldOption.LABELS else "spans"


AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Encoding of the texts, such as latin-1. Default: UTF-8, or that of the byte order mark.",
        show_default=False,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        min=1, help="Token budget of the prompt; the least similar demonstrations are dropped.", show_default=False
    ),
]


@contextmanager
def opened(store: str | None, pool: str, encoder: str | None) -> Iterator[DemonstrationStore]:
    """The store of a command; by default the starter pool, in memory."""
    if store is None:
        from ruie_components.starter import starter_store

        source = starter_store(encoder=encoder)
    else:
        source = DemonstrationStore.open(store, pool=pool, encoder=encoder)
    with closing(source):
        yield source


def selector(method: str | None) -> Selector | None:
    """A selector by the method's name, None for the pool's own; an unknown method is a usage error."""
    try:
        return None if method is None else Selector(method=method)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--method") from None


def defaults(
    store: DemonstrationStore,
    task: Task | None,
    labels: list[str] | None,
    event: str | None,
    method: str | None = None,
    k: int | None = None,
) -> DemonstrationRetriever:
    """The values of the command line for every query."""
    tasks = {task} if task else set(store.tasks)
    if event is not None and tasks and Task.EAE not in tasks:
        raise typer.BadParameter(
            f"an event is given for event arguments (EAE), and this is {', '.join(sorted(tasks))}: leave --event out",
            param_hint="--event",
        )
    if labels:
        _note_unknown(labels, [label for each in sorted(tasks) for label in store.labels(each)], store.pool)
    return DemonstrationRetriever(store, selector(method), k, task=task, labels=labels or None, event=_event(event))


def _note_unknown(labels: list[str], known: list[str], pool: str) -> None:
    """Say which labels no example of the pool was annotated for: they may be typing errors."""
    unknown = [label for label in dict.fromkeys(labels) if label not in known]
    if unknown and known:
        more = ", ..." if len(known) > _NAMED_LABELS else ""
        errors.print(
            f"note: pool {pool!r} has no label {', '.join(map(repr, unknown))}, so no demonstration shows it; its "
            f"labels are {', '.join(known[:_NAMED_LABELS])}{more}",
            markup=False,
            soft_wrap=True,
        )


_NAMED_LABELS = 30


def _event(event: str | None) -> EventQuery | None:
    if event is None:
        return None
    for separator in (": ", ":"):  # types may have colons of their own: "Conflict:Attack: attacked"
        kind, _, trigger = event.rpartition(separator)
        if kind.strip() and trigger.strip():
            return EventQuery(type=kind.strip(), trigger=trigger.strip())
    raise typer.BadParameter('write it as "event type: trigger"', param_hint="--event")


_OWN_OPTIONS = re.compile(r"(?:\s+[A-Za-z_]\w*=\S*)+$")


_PROBABILITIES: dict[str, dict[str, Any]] = {
    "gguf": {"probabilities": True},
    "openai": {"logprobs": True, "top_logprobs": 10},
    "http": {"logprobs": True, "top_logprobs": 10},
    "https": {"logprobs": True, "top_logprobs": 10},
}
"""The options by which a provider's models return token probabilities."""


def chat_model(name: str | None, options: list[str] | None, *, probabilities: bool = False) -> ChatModel:
    """The chat model of a command; by default the baseline, with a note.

    Options may follow the model's name, ``gguf:model.gguf mode=chat``; they take precedence over ``--model-option``.
    """
    from ruie_components.chat import load_chat_model

    if name is None:
        errors.print(
            "No --model: the offline baseline answers, which only copies from the demonstrations. It is not a "
            "language model.",
            style="yellow",
            soft_wrap=True,
        )
        name = "baseline"
    own = _OWN_OPTIONS.search(name)
    given = [*(options or []), *(own[0].split() if own else [])]
    wanted = _PROBABILITIES.get(name.partition(":")[0], {}) if probabilities else {}
    return load_chat_model(name[: own.start()] if own else name, **{**wanted, **model_options(given)})


def model_options(given: list[str]) -> dict[str, Any]:
    """Parse model options; values are JSON if possible (numbers, true, false, null, lists), else text."""
    options = {}
    for option in given:
        key, equals, value = option.partition("=")
        if not equals or not key.isidentifier():
            raise typer.BadParameter(f"expected KEY=VALUE, got {option!r}", param_hint="--model-option")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = {"True": True, "False": False, "None": None}.get(value, value)
    return options


def refuse_overwriting(option: str, out: Path, others: Mapping[str, Path | None]) -> None:
    """Make an output that is also another file of the command a usage error.

    Args:
        option: The option of the output.
        out: The output.
        others: The other files, by their options; ``None`` for those not given.
    """
    for name, path in others.items():
        if path is not None and (path.resolve() == out.resolve() or _exist_as_one(path, out)):
            raise typer.BadParameter(
                f"{out} is also {name}, and would be overwritten: give another file", param_hint=option
            )


def results_file(path: Path) -> Path:
    """The file of results: the path, or the one in the folder of a corpus.

    Raises:
        RuieError: It is a folder without such a file.
    """
    from ruie_components.extraction.run_folder import RESULTS

    if not path.is_dir():
        return path
    if not (path / RESULTS).is_file():
        raise RuieError(f"{path} is a folder without {RESULTS}: give a file of results, or the --out of a corpus")
    return path / RESULTS


def _exist_as_one(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def the_text(text: str | None, encoding: str | None = None) -> str:
    """The text of the argument, or of standard input in an encoding.

    Raises:
        RuieError: Standard input is in another encoding.
    """
    if text is not None:
        return text
    if sys.stdin.isatty():
        raise typer.BadParameter("give a text, or pipe one in", param_hint="TEXT")
    if encoding and isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding=encoding, errors="strict")
    try:
        read = sys.stdin.read().removesuffix("\n")
        read.encode()  # in some locales Python reads any byte, as half of a surrogate pair
    except UnicodeError:
        raise RuieError(
            f"standard input is not {(encoding or sys.stdin.encoding or 'UTF-8').upper()}: convert it, for example by "
            "iconv -f latin1 -t utf-8; ruie extract also has --encoding"
        ) from None
    return read


def queries_in(
    path: Path, retriever: DemonstrationRetriever, text_key: str | None = None, encoding: str | None = None
) -> list[Query]:
    """The queries of a file of texts: JSON Lines, a JSON array, CSV, TSV, or one per line.

    Rows with an empty text are left out. Prints the guessed layout and the number of texts. Values of a row (``task``,
    ``schema``, an event) take precedence over ``retriever``. Its id and its other keys or columns stay with the query.

    Raises:
        RowError: A row is not a valid query; the message names file and line.
    """
    layout = guess_layout(path, encoding=encoding)
    rows = list(read_texts(path, layout, text_key=text_key, encoding=encoding))
    queries = [_row_query(location, row, retriever) for location, row in rows if row["text"].strip()]
    empty = f", rows without a text left out: {len(rows) - len(queries):,}" if len(queries) < len(rows) else ""
    texts = counted(len(queries), "text")
    errors.print(f"{path}: {layout.value}, {texts}{empty}", style="dim", markup=False, soft_wrap=True)
    return queries


def _row_query(location: str, row: dict[str, Any], retriever: DemonstrationRetriever) -> Query:
    try:
        return retriever.query(row)
    except ValidationError as error:
        raise RowError(f"{location}: {explain(error)}") from error
    except (ValueError, TypeError) as error:
        raise RowError(f"{location}: {error}") from error

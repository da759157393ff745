"""``ruie demo``: runs one input of each task through the whole chain."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ruie_components.cli import show
from ruie_components.cli.console import console
from ruie_components.cli.options import ModelOptions, chat_model, model_options
from ruie_components.errors import RuieError
from ruie_components.prompts import TASK_NAMES
from ruie_components.selection import Selector
from ruie_components.starter import starter_store
from ruie_components.types import EventQuery, Query, Task

if TYPE_CHECKING:
    from ruie_components.chat import ChatModel
    from ruie_components.extraction import ExtractionResult

_TITLE = "ruie demo"
_HEAD = 2000  # bytes of a page, among which is its title
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ruie-components" / "demo.sqlite"


def demo_queries() -> list[Query]:
    """One input per task, with schemas of the starter pool."""
    return [
        Query(
            task=Task.NER,
            text="Aurora Air will fly from Lisbon to Mexico City from May, with fares from €310.",
            labels=["city", "country", "airline", "hotel", "landmark", "duration", "price"],
        ),
        Query(
            task=Task.RE,
            text="Deimos, the smaller of the two moons of Mars, was discovered by Asaph Hall.",
            labels=["discovered by", "orbits", "part of", "named after", "observed with"],
        ),
        Query(
            task=Task.ED,
            text="Police in Warsaw detained nine people at a protest against the election result.",
            labels=["attack", "protest", "election", "meeting", "arrest", "death", "natural disaster"],
        ),
        Query(
            task=Task.EAE,
            text="A fallen tree cut power to 9,000 homes near Hobart for two hours.",
            labels=["place", "cause", "affected", "duration"],
            event=EventQuery(type="power outage", trigger="cut power"),
        ),
    ]


def demo(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="As for extract. Default: Ollama if it answers, else a small LLM if installed, else the baseline.",
            show_default=False,
        ),
    ] = None,
    model_option: ModelOptions = None,
    k: Annotated[int, typer.Option("-k", "--k", min=0, help="Number of demonstrations.")] = 2,
    report: Annotated[
        Path, typer.Option(help="The HTML report to write. Only an earlier report of this command is replaced.")
    ] = Path("report.html"),
) -> None:
    """Run one input for each task through retrieval, prompt, chat model and grounding, offline if need be."""
    from ruie_components import report as pages
    from ruie_components.extraction import Extractor

    if report.exists() and not _is_own(report):
        raise RuieError(f"{report} exists and is not a report of `ruie demo`: give another --report")
    with ExitStack() as stack:
        answering, lead = _chat_model(model, model_option, stack)
        store = stack.enter_context(closing(starter_store()))
        counts = ", ".join(f"{store.count(task)} {task}" for task in store.tasks)
        encoder = f"{store.encoder.name}, {store.encoder.dimension} dimensions"
        console.print(f"Starter pool: {counts}. Encoder: {encoder}.\n{lead}", markup=False)
        queries = demo_queries()
        results = Extractor(store, answering, selector=Selector(), k=k).extract_many(queries)
    for query, outcome in zip(queries, results, strict=True):
        _show(query, outcome)
    written = pages.write(report, results, title=_TITLE, lead=lead)
    console.print(f"\nReport: {written.resolve()}", markup=False, soft_wrap=True)
    failed = [outcome.error for outcome in results if outcome.error]
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(results)} inputs failed:[/] {escape(failed[0])}")
        raise typer.Exit(1)


def _is_own(report: Path) -> bool:
    if not report.is_file():
        return False
    with report.open("rb") as page:
        return f"<title>{_TITLE}</title>".encode() in page.read(_HEAD)


def _show(query: Query, outcome: ExtractionResult) -> None:
    console.rule(f"[bold]{TASK_NAMES[query.task]}[/]", align="left")
    if query.event:
        console.print(f"  event [bold]{escape(query.event.type)}[/]: {escape(query.event.trigger)}")
    show.result(console, outcome, as_json=False)
    console.print("\n  demonstrations, most similar first:")
    show.demonstrations(console, outcome.demonstrations)
    if outcome.prompt:
        console.print(f"  [dim]prompt of about {outcome.prompt.tokens:,} tokens, {outcome.usage.seconds:.2f} s[/]")


def _chat_model(name: str | None, options: list[str] | None, stack: ExitStack) -> tuple[ChatModel, str]:
    """The chat model, and a line that says which one was chosen and why; ``stack`` closes the cache of its answers."""
    from ruie_components.chat import local_chat_model
    from ruie_components.evaluation import AnswerCache, CachedChatModel

    if name is not None:
        return chat_model(name, options), f"Model: {name}, as given."
    model = local_chat_model(**model_options(options or []))
    provider = model.name.partition(":")[0]
    if provider == "ollama":
        return model, f"Model: {model.name}, since an Ollama server answers."
    if provider == "gguf":
        return CachedChatModel(model, stack.enter_context(closing(AnswerCache(_CACHE)))), (
            "Model: SmolLM2-135M-Instruct in this process, since no Ollama server answers. It is a very small LLM; its "
            f"answers are kept in {_CACHE}."
        )
    return model, (
        "Model: the offline baseline, since no Ollama server answers and no small LLM is installed. It only copies "
        "from the demonstrations: a lower bound, not an LLM."
    )

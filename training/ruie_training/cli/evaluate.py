"""``ruie evaluate``: retrieval by encoders, compared with random, BM25 and the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.progress import quiet_libraries

evaluate_app = typer.Typer(help="Measure retrieval.", no_args_is_help=True, pretty_exceptions_enable=False)


@evaluate_app.callback()
def _group() -> None:
    """Measure retrieval."""


@evaluate_app.command()
def retrieval(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled rows: a .jsonl file or a folder of such files, or a folder of data sets with catalog.json.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", "-s", help="Measure a pool of this store.", show_default=False)
    ] = None,
    pool: Annotated[str, typer.Option(help="The store's pool.")] = "default",
    held_out: Annotated[
        bool, typer.Option("--held-out", help="The held-out sets: for reporting, never for choosing.")
    ] = False,
    held_in: Annotated[
        bool, typer.Option("--held-in", help="The held-in sets, queries from their dev splits.")
    ] = False,
    sets: Annotated[list[str] | None, typer.Option(help="A set, as TASK/NAME; repeatable.", show_default=False)] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(
            help="All sets of this language (de, zh, ...) that are not held out; repeatable.", show_default=False
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder, a checkpoint, or `embedded`; repeatable. Default: embedded.",
            show_default=False,
        ),
    ] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="Also adapt the encoders to every set's pool.")] = False,
    every_method: Annotated[
        bool, typer.Option("--every-method", help="Also BM25 and every encoder by label voting.")
    ] = False,
    k: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Numbers of demonstrations; repeatable. Default: 8.", show_default=False),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Maximum number of queries per set.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the draw of queries.")] = 0,
    llm: Annotated[
        str | None,
        typer.Option(
            help="A causal LM, folder or hub name: also measure the likelihood of the gold answers.",
            show_default=False,
        ),
    ] = None,
    llm_queries: Annotated[int, typer.Option(min=1, help="Number of queries per set that the LLM scores.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for results.json, results.md and results.png.", show_default=False),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure label F1@k, label recall@k and, with --llm, likelihood@k of encoders, random, BM25 and the oracle.

    Encoders choose by similarity, the package's default, and BM25 by its scores.

    The pool is a set's train split; queries come from the test split of a held-out set, from the dev split of others.
    Rows without a catalog, and pools of a store, have a fifth of their texts as dev split.
    """
    from ruie_components.encoders import EMBEDDED
    from ruie_training.data.catalog import Role, choose, measurable, read_sets
    from ruie_training.evaluation.retrieval import default_retrievers, evaluate
    from ruie_training.evaluation.tables import rows, table, write_results

    if (data is None) == (store is None):
        raise typer.BadParameter("give one of --data and --store")
    if held_out + held_in + bool(sets) + bool(language) > 1:
        raise typer.BadParameter("give at most one of --held-out, --held-in, --sets and --language")
    quiet_libraries()
    roles = {Role.HELD_OUT} if held_out else {Role.HELD_IN} if held_in else {Role.HELD_IN, Role.EXTRA}
    known = measurable(read_sets(data or Path(str(store)), pool))
    if len({each.role for each in known}) > 1 and not (held_out or held_in or sets or language):
        raise typer.BadParameter("the catalog has several roles: give one of --held-out, --held-in, --sets, --language")
    chosen = choose(known, names=sets or None, roles=None if sets else roles, languages=language or None)
    scorer = None
    if llm is not None:
        from ruie_training.preferences.local import LocalScorer

        scorer = LocalScorer.load(llm)
    ks = sorted(set(k or [8]))
    sources = encoder or [EMBEDDED]
    figures = evaluate(
        chosen,
        default_retrievers(sources, adapt=adapt, every_method=every_method),
        ks,
        queries=queries,
        seed=seed,
        llm=scorer,
        llm_queries=llm_queries,
        progress=progress,
    )
    if out:
        write_results(figures, out)
    if as_json:
        typer.echo(json.dumps(rows(figures)))
    else:
        typer.echo("\n\n".join(table(figures, at) for at in ks))

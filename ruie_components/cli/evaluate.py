"""``ruie evaluate extraction``: F1 with a language model in the loop."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import HoldOption, ModelOptions, Pool, chat_model
from ruie_components.extraction.budget import cost_of
from ruie_components.integers import counted
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.store import DemonstrationStore
from ruie_components.types import Task

if TYPE_CHECKING:
    from ruie_components.evaluation.experiment import RunCost

evaluate_app = typer.Typer(help="Measure extraction and retrieval.", no_args_is_help=True)


class ConfidenceOption(StrEnum):
    """The source of confidence."""

    TOKENS = "tokens"
    AGREEMENT = "agreement"


@evaluate_app.callback()
def _group() -> None:
    """Measure extraction and retrieval."""


@evaluate_app.command()
def extraction(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of data sets, TASK/NAME/{train,dev,test}.jsonl.gz.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--sets", help="A set, as TASK/NAME; repeatable.", show_default=False)
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", help="Your own pool instead, a part of which becomes the inputs.", show_default=False
        ),
    ] = None,
    pool: Pool = "default",
    task: Annotated[
        Task | None,
        typer.Option(
            "--task",
            "-t",
            help="A task of --store. Default: all of its tasks, each as a set.",
            case_sensitive=False,
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Exported encoder folder, sentence-transformers path or hub name, for selections without an encoder "
            "of their own. A --store that was built with one needs it. Default: the embedded one.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="As for `ruie extract`; repeatable. Options of one model follow its name: 'gguf:PATH mode=chat'. "
            "Default: baseline.",
            show_default=False,
        ),
    ] = None,
    model_option: ModelOptions = None,
    selection: Annotated[
        list[str] | None,
        typer.Option(
            help="zero-shot, random, bm25, similarity, hybrid, label-vote, mmr, label-coverage, oracle, adapted "
            "(similarity by the adapted encoder), adapted-hybrid and so on, or METHOD[ENCODER]; repeatable. Default: "
            "bm25, similarity.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", "--k", min=1, help="Repeat it. Default: 4.")] = None,
    order: Annotated[
        list[Order] | None,
        typer.Option(
            help="Position of the most similar demonstration; repeatable. Default: similar-last.", show_default=False
        ),
    ] = None,
    answer_format: Annotated[
        list[AnswerFormat] | None,
        typer.Option("--answer-format", help="Repeat it. Default: linear.", show_default=False),
    ] = None,
    hold: Annotated[
        list[HoldOption] | None,
        typer.Option(
            help="Restrict answers by a grammar to the schema's labels, or also to spans of the text, for models that "
            "take one (gguf, servers of llama.cpp and vLLM). Repeatable. Default: none.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        ConfidenceOption | None,
        typer.Option(
            help="Measure the calibration of confidence: from token probabilities (gguf, OpenAI's protocol), or from "
            "the agreement of --samples more answers, which needs a temperature.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="For --confidence agreement.")] = 5,
    split: Annotated[str, typer.Option(help="The split of the inputs, for --data.")] = "dev",
    inputs: Annotated[int, typer.Option(min=1, help="Maximum number of inputs per set.")] = 100,
    pool_size: Annotated[int, typer.Option(min=1, help="Maximum number of rows per pool, for --data.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    reference: Annotated[
        str | None,
        typer.Option(help='The setting to compare with, such as "bm25 k=8". Default: the first.', show_default=False),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Compare strings as the paper does, not spans.")] = False,
    cache: Annotated[
        Path, typer.Option(help="SQLite cache of answers: killed runs resume, and repeated runs cost nothing.")
    ] = Path("answers.sqlite"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for tables, plots and error pages.", show_default=False)
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of concurrent requests.")] = 1,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Prices per million tokens read and written.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print calls and tokens without calling the model.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Measure F1 of a language model's extractions by selection of demonstrations, with intervals and paired tests.

    For example: ruie evaluate extraction --data DATA --sets NER/mit-movie-trivia --selection bm25 --selection adapted
    -k 4 --model gguf:model.gguf --inputs 100 --out RESULTS
    """
    from ruie_components.evaluation import AnswerCache, CachedChatModel, EvaluationSet, Plan, measure
    from ruie_components.evaluation.data import encoder_of, read_set, split_pool
    from ruie_components.evaluation.experiment import run_cost
    from ruie_components.evaluation.predictors import correlation_table, correlations
    from ruie_components.evaluation.tables import calibration_table, rows, table, write_results
    from ruie_components.selection import DEFAULT_K

    if (data is None) == (store is None) or (data is not None and not sets):
        raise typer.BadParameter("give --data with --sets, or --store")
    if task is not None and store is None:
        raise typer.BadParameter("it is for --store; the sets of --data name their task", param_hint="--task")
    measured_on: list[EvaluationSet] = []
    by_encoder: Any = encoder
    if store is not None:
        with closing(DemonstrationStore.open(store, pool=pool, encoder=encoder)) as opened:
            tasks = opened.tasks if task is None else [task]
            measured_on += [split_pool(opened, each, inputs=inputs, seed=seed) for each in tasks]
            by_encoder = encoder_of(opened)
    elif data is not None:
        for name in sets or []:
            measured_on.append(read_set(data, name, split=split, inputs=inputs, pool=pool_size, seed=seed))
    orders = order or [Order.SIMILAR_LAST]
    with closing(AnswerCache(":memory:" if dry_run and not cache.exists() else cache)) as answers:
        names = model or ["baseline"]
        with_tokens = confidence is ConfidenceOption.TOKENS
        models = [CachedChatModel(chat_model(name, model_option, probabilities=with_tokens), answers) for name in names]
        more = samples if confidence is ConfidenceOption.AGREEMENT else 0
        for one in models if more else []:
            if one.settings.get("temperature") == 0:
                raise typer.BadParameter(
                    f"all answers of {one.name} are the same at temperature 0: give --model-option temperature=0.7",
                    param_hint="--confidence",
                )
        plan = Plan(
            measured_on, models, selection or ("bm25", "similarity"), k or (DEFAULT_K,), orders,
            answer_format or (AnswerFormat.LINEAR,), [one.value_or_none for one in hold or [HoldOption.NONE]], seed,
            by_encoder,
        )  # fmt: skip
        plan.check_reference(reference)
        if dry_run:
            _show_cost(run_cost(plan, answers, samples=more, progress=True), price, as_json=as_json)
            return
        measurements = measure(plan, concurrency=concurrency, samples=more)
    if out:
        written = write_results(out, measurements, reference=reference, prices=price)
        errors.print(f"{counted(len(written), 'file')} in {out}", markup=False, soft_wrap=True)
    if as_json:
        write_json(console, json.loads(json.dumps(rows(measurements, prices=price))), indent=1)
    else:
        text = table(measurements, reference=reference, mode="paper" if paper else "span", prices=price)
        console.print(text, markup=False, soft_wrap=True)
        for more_text in (calibration_table(measurements), correlation_table(correlations(measurements))):
            if more_text:
                console.print(f"\n{more_text}", markup=False, soft_wrap=True)
    if missing := sum(one.failed_samples for one in measurements):
        errors.print(f"{counted(missing, 'sampled answer')} failed; the agreement is that of the others")
    why = Counter(result.error for one in measurements for result in one.results if result.error is not None)
    if why:
        total = sum(len(one.examples) for one in measurements)
        error, count = why.most_common(1)[0]
        said = f"{why.total():,} of {counted(total, 'request')} failed; each counts as an empty extraction"
        said += f". {count:,} of them: {error}"
        errors.print(said, markup=False, soft_wrap=True)
        if why.total() * 2 >= total:
            raise typer.Exit(1)


def _show_cost(cost: RunCost, price: tuple[float, float] | None, *, as_json: bool) -> None:
    to_read = cost_of(price, cost.new_tokens, 0)
    if as_json:
        priced = {} if to_read is None else {"cost_to_read": to_read}
        write_json(console, {**asdict(cost), **priced}, indent=1)
        return
    said = f"{counted(cost.calls, 'call')}, about {cost.tokens:,} tokens to read"
    if cost.new_calls < cost.calls:
        said += (
            f"; {counted(cost.new_calls, 'call')}, about {cost.new_tokens:,} tokens, without cached and equal prompts"
        )
    if to_read is not None:
        said += f"; to read them costs {to_read:.3g}, answers not counted"
    console.print(said, markup=False, soft_wrap=True)

"""``ruie tune``: searches the best settings for a pool and a model, measured on a part of the pool."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from ruie_components.cli.console import console, write_json
from ruie_components.cli.options import AsJson, EncoderOption, ModelName, ModelOptions, Pool, TaskOption, chat_model
from ruie_components.integers import counted
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.store import DemonstrationStore

_SHOWN = 10  # settings in the table


def tune(
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    pool: Pool = "default",
    task: TaskOption = None,
    model: ModelName = None,
    model_option: ModelOptions = None,
    calls: Annotated[int, typer.Option(min=1, help="Maximum number of prompts to answer.")] = 600,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method to try; repeatable. Default: similarity, label-vote, hybrid, bm25.", show_default=False
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option("-k", "--k", min=0, help="Numbers of demonstrations to try; repeatable. Default: 4, 8."),
    ] = None,
    order: Annotated[list[Order] | None, typer.Option(help="Repeat it. Default: both.", show_default=False)] = None,
    answer_format: Annotated[
        list[AnswerFormat] | None, typer.Option("--answer-format", help="Repeat it. Default: both.", show_default=False)
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="SQLite cache of answers: interrupted searches resume, and repeated ones cost nothing.")
    ] = Path("answers.sqlite"),
    concurrency: Annotated[int, typer.Option(min=1, help="Number of concurrent requests.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    always: Annotated[
        bool, typer.Option("--always", help="Keep the winner even if it is not significantly better.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print calls and tokens without calling the model.")
    ] = False,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Find the method, k, order and answer format with the best F1, and keep them in the store.

    A part of the pool is held out. All settings answer a few of its inputs, the better half answers more, and so on;
    the winner and the default then answer unused inputs. The store keeps the winner if it is significantly better, and
    `ruie extract`, Extractor and the retrievers use it as their default.

    For example: ruie tune --store POOL --model gguf:model.gguf --calls 600
    """
    from ruie_components.evaluation import AnswerCache
    from ruie_components.evaluation import tune as search

    with closing(DemonstrationStore.open(store, pool=pool, encoder=encoder)) as opened:
        given: dict[str, Any] = {"task": task, "calls": calls, "seed": seed, "ks": k or (4, 8)}
        given |= {"methods": method or search.METHODS, "orders": order or tuple(Order)}
        given |= {"formats": answer_format or tuple(AnswerFormat)}
        chat = chat_model(model, model_option)
        if dry_run:
            _show_plan(search.plan_tuning(opened, chat, **given), as_json=as_json)
            return
        with closing(AnswerCache(cache)) as answers:
            tuning = search.tune(opened, chat, cache=answers, concurrency=concurrency, **given)
        keeps = (tuning.is_significant or always) and not tuning.has_failed
        if keeps:
            opened.set_tuned(tuning.task, tuning.winner)
    if as_json:
        write_json(console, _as_json(tuning, kept=keeps), indent=1)
    else:
        _show(tuning, kept=keeps)
    if tuning.has_failed:
        raise typer.Exit(1)


def _show_plan(plan: Any, *, as_json: bool) -> None:
    rounds = [asdict(one) for one in plan.rounds]
    if as_json:
        tested = {"settings": len(plan.settings), "possible": plan.possible, "test_inputs": plan.test_inputs}
        write_json(console, {"calls": plan.calls, "tokens": plan.tokens, "rounds": rounds, **tested}, indent=1)
        return
    said = "; ".join(f"{one['settings']} settings answer {one['inputs']} inputs" for one in rounds)
    console.print(
        f"{plan.calls:,} calls, about {plan.tokens:,} tokens to read. {len(plan.settings)} of {plan.possible} settings "
        f"are tried: {said}; then the winner and the default answer {plan.test_inputs} others.",
        markup=False,
        soft_wrap=True,
    )


def _as_json(tuning: Any, *, kept: bool) -> dict[str, Any]:
    return {
        "task": tuning.task,
        "winner": tuning.winner.model_dump(mode="json"),
        "difference": tuning.difference and tuning.difference._asdict(),
        "winner_f1": tuning.winner_f1._asdict(),
        "default_f1": tuning.default_f1._asdict(),
        "test_inputs": tuning.test_inputs,
        "is_significant": tuning.is_significant,
        "kept": kept,
        "calls": tuning.calls,
        "failures": tuning.failures,
        "has_failed": tuning.has_failed,
        "trials": [
            {"settings": one.settings.model_dump(mode="json"), "inputs": one.inputs, "f1": one.f1._asdict()}
            for one in tuning.trials
        ],
    }


def _show(tuning: Any, *, kept: bool) -> None:
    table = Table("settings", Column("inputs", justify="right"), Column("F1", justify="right"))
    for one in tuning.trials[:_SHOWN]:
        table.add_row(str(one.settings), str(one.inputs), str(one.f1))
    console.print(table)
    if len(tuning.trials) > _SHOWN:
        console.print(f"and {len(tuning.trials) - _SHOWN} more that left earlier")
    if tuning.has_failed:
        said = (
            f"{tuning.failures:,} of {counted(tuning.calls, 'request')} failed, which is half of them or more: the "
            "figures say nothing about the settings, and the store keeps what it has."
        )
    elif tuning.difference is None:
        said = "The default is the best: " + (
            "the store keeps it." if kept else "the store keeps what it has (--always keeps the default instead)."
        )
    else:
        said = (
            f"On {tuning.test_inputs} other inputs {tuning.winner} has F1 {tuning.winner_f1}, the default "
            f"{tuning.default_f1}: difference {tuning.difference}, p = {tuning.difference.p:.3f}. "
        )
        better = "significantly better" if tuning.is_significant else "not significantly better"
        said += f"It is {better} than the default: "
        said += "the store keeps it." if kept else "the store keeps what it has (--always keeps it nevertheless)."
    console.print(said, markup=False, soft_wrap=True)
    if tuning.failures and not tuning.has_failed:
        console.print(
            f"{tuning.failures:,} of {counted(tuning.calls, 'request')} failed; each counts as an empty extraction"
        )

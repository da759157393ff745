"""The ``ruie`` command and its exit status: 0 done, 1 the work failed, 2 wrong use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points, version
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.markup import escape

from ruie_components.cli import exchange, pools, work
from ruie_components.cli.adapt import adapt
from ruie_components.cli.console import errors, write_any_character
from ruie_components.cli.corpus import merge
from ruie_components.cli.demo import demo
from ruie_components.cli.evaluate import evaluate_app
from ruie_components.cli.info import info
from ruie_components.cli.report import report
from ruie_components.cli.serve import serve
from ruie_components.cli.suggest import suggest
from ruie_components.cli.tune import tune
from ruie_components.errors import RuieError, explain
from ruie_components.extraction import AnswerTruncatedWarning

app = typer.Typer(
    name="ruie",
    help="Choose demonstrations for an LLM's prompt, and map its answer to spans of the input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command("import")(exchange.import_annotations)
app.command()(pools.index)
app.command()(pools.sync)
app.command()(info)
app.command()(adapt)
app.command()(tune)
app.command()(work.retrieve)
app.command()(work.prompt)
app.command()(work.extract)
app.command()(merge)
app.command()(exchange.export)
app.command()(suggest)
app.command()(report)
app.command()(serve)
app.add_typer(evaluate_app, name="evaluate")
for _entry in entry_points(group="ruie.commands"):
    # The training code adds its commands by entry points, because nothing here may import it.
    _command = _entry.load()
    if isinstance(_command, typer.Typer) and _entry.name == "evaluate":
        evaluate_app.registered_commands += _command.registered_commands
    elif isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_entry.name)
    else:
        app.command(_entry.name)(_command)


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"ruie-components {version('ruie-components')}")
        raise typer.Exit


def main() -> None:
    """Run the command; user errors are one message on standard error, without a traceback."""
    write_any_character()
    warnings.simplefilter("ignore", AnswerTruncatedWarning)  # the commands show it with the result
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        app()
    except ImportError as error:
        _complain(_with_pip_line(error), 1)
    except (RuieError, OSError) as error:
        _complain(str(error), 1)
    except ValidationError as error:
        _complain(explain(error).removeprefix("row: "), 2)  # a command-line value is not a row of a file
    except ValueError as error:
        _complain(str(error), 2)


_OF_TRAINING = {
    "accelerate", "datasets", "matplotlib", "numba", "onnx", "onnxscript", "sentence_transformers", "sklearn", "torch",
    "transformers",
}  # fmt: skip


def _with_pip_line(error: ImportError) -> str:
    # other extras are checked where they are used; the training code imports its dependencies directly
    lacking = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _OF_TRAINING
    return (
        f'{error}: pip install "ruie-components[train]"' if lacking and "pip install" not in str(error) else str(error)
    )


def _show_warning(others: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Show a warning of this package as one message, without its place in the code."""
    if category.__module__.startswith("ruie_components."):
        errors.print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)
    else:
        others(message, category, *where)


def _complain(message: str, status: int) -> NoReturn:
    errors.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(status)

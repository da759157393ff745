"""Displays demonstrations and results in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ruie_components.cli.console import write_json
from ruie_components.extraction import ExtractionResult
from ruie_components.report import highlight
from ruie_components.types import Demonstration, Example, Extraction


def demonstrations(console: Console, chosen: Sequence[Demonstration], *, explain: bool = False) -> None:
    """Each demonstration's score and annotated text, best first, and the reason for it if ``explain`` is set."""
    for demonstration in chosen:
        line = Text(f"{demonstration.score:.3f}  ", style="bold")
        console.print(_indented(line.append_text(annotated(demonstration.example))))
        if explain and demonstration.reason:
            console.print(Padding(Text(str(demonstration.reason), style="dim"), (0, 0, 0, 9)))
    if not chosen:
        console.print("  no demonstrations")


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2), expand=False)


def annotated(example: Example | Extraction) -> Text:
    """The text with its spans highlighted."""
    return highlight.to_terminal(example.text, highlight.marks_of(example))


def counts(failed: int, truncated: int, unanswered: int) -> str:
    """The numbers of inputs about which something is left to ask; empty if there are none."""
    each = {"failed": failed, "with a truncated answer": truncated, "without an answer": unanswered}
    return ", ".join(f"{count:,} {what}" for what, count in each.items() if count)


def result(console: Console, outcome: ExtractionResult, *, as_json: bool) -> None:
    """Print a result: a line of JSON, or the highlighted text with offsets and rejected parts."""
    if as_json:
        write_json(console, outcome.to_row())
        return
    console.print(_indented(annotated(outcome.extraction)))
    if outcome.error is not None:  # "nothing extracted" would be a result
        console.print("  [bold red]no answer[/]")
        return
    for label, spans in outcome.extraction.annotations:
        line = Text("  ").append(label, style="bold").append(": ")
        places = (Text(f"{span.text} ").append(f"{span.start}-{span.end}", style="dim") for span in spans)
        console.print(line.append_text(Text(", ").join(places)))
    if not outcome.extraction.annotations:
        console.print("  nothing extracted")
    for item in outcome.extraction.rejected:
        said = ": ".join(part for part in (item.label, ", ".join(item.spans) or item.answer) if part)
        console.print(Text(f"  left out, {item.reason}: {said}", style="dim"))
    if outcome.usage.truncated:
        console.print("  [bold]the answer was truncated at the token limit of the model[/]")

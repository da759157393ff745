"""One self-contained HTML page of extractions: spans in their texts, the demonstrations used and why, the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ruie_components import highlight
from ruie_components.extraction import ExtractionResult
from ruie_components.prompts import TASK_NAMES, Prompt
from ruie_components.types import Demonstration, Example, Extraction

_ARROW = " \u2192 "  # from head to tail
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #fbfbfa; --card: #ffffff; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebef; --soft: #a3adba; --paper: #14181d; --card: #1c2229; --line: #343c46; }
}
body { font: 16px/1.65 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 60rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; color: var(--soft); font-weight: 600; }
p.lead, .facts { color: var(--soft); margin: .25rem 0 1.5rem; } .facts { font-size: .9rem; margin: .5rem 0 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.25rem 1.5rem;
  margin: 1.25rem 0; }
mark { color: #16191d; padding: .1em .2em; border-radius: .2em; }
mark + small, small + small { margin-left: .15em; }
.text small { color: #16191d; font-size: .68em; font-weight: 600; padding: .15em .4em; border-radius: .2em;
  vertical-align: .1em; margin-left: .15em; white-space: nowrap; }
.text { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } td, th { text-align: left; vertical-align: top;
  padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line); } th { color: var(--soft); font-weight: 600; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; line-height: 1.5;
  border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; }
"""


def render(results: Sequence[ExtractionResult], *, title: str = "Extractions", lead: str = "") -> str:
    """The page: one section a result, nothing loaded from elsewhere.

    Args:
        results: What an ``Extractor`` returned.
        title: The page's title.
        lead: A sentence below it, such as which model answered.

    Returns:
        A whole HTML document.
    """
    sections = "".join(_section(result) for result in results)
    lead_line = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{lead_line}{sections}</body></html>"
    )


def write(path: str | Path, results: Sequence[ExtractionResult], *, title: str = "Extractions", lead: str = "") -> Path:
    """Write the page to a file, in a new folder if need be, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # a model may have said half a surrogate pair: no reason to lose the page
    path.write_text(render(results, title=title, lead=lead), "utf-8", errors="replace")
    return path


def _section(result: ExtractionResult) -> str:
    extraction = result.extraction
    shown = [mark.label for item in result.demonstrations for mark in highlight.marks_of(item.example)]
    palette = highlight.colours([*extraction.labels, *shown])  # one colour a label in the whole section
    error = f"<p><strong>Failed:</strong> {escape(result.error)}</p>" if result.error else ""
    return (
        f"<section><h2>{escape(TASK_NAMES[extraction.task])}{_asked(result.prompt)}</h2>"
        f'<p class="text">{_annotated(extraction, palette)}</p>{error}'
        f"{'' if error else _found(extraction)}{_rejected(extraction)}"
        f"<h3>Demonstrations, most similar first</h3>"
        f"{_demonstrations(result.demonstrations, palette)}"
        f'<p class="facts">{" / ".join(_facts(result))}</p>'
        f"{_folded('The prompt', result.prompt.text if result.prompt else '')}"
        f"{_folded('The answer of the model', extraction.answer)}</section>"
    )


def _asked(prompt: Prompt | None) -> str:
    event = prompt.query.event if prompt else None
    return f" of {escape(event.type)}: {escape(event.trigger)}" if event else ""


def _facts(result: ExtractionResult) -> list[str]:
    usage = result.usage
    facts = [f"{usage.demonstrations} demonstrations"]
    if result.prompt:
        facts.append(f"prompt of about {result.prompt.tokens:,} tokens")
    facts.append(f"{usage.seconds:.2f} s")
    if usage.cut:
        facts.append("<strong>the answer was cut at the model's limit of tokens</strong>")
    if usage.dropped:
        facts.append(f"{usage.dropped} demonstrations dropped to fit the budget")
    if usage.input_tokens is not None:
        facts.append(f"{usage.input_tokens:,} tokens read, {usage.output_tokens or 0:,} written")
    return facts


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" if text else ""


def _annotated(annotated: Example | Extraction, palette: dict[str, str]) -> str:
    return highlight.to_html(annotated.text, highlight.marks_of(annotated), palette)


def _found(extraction: Extraction) -> str:
    rows = [
        f"<tr><td>{escape(label)}</td><td>{escape(_ARROW.join(span.text for span in spans))}</td>"
        f'<td class="number">{", ".join(f"{span.start}-{span.end}" for span in spans)}</td>'
        f"<td>{', '.join(dict.fromkeys(span.grounding for span in spans))}</td></tr>"
        for label, spans in extraction.annotations
    ]
    if not rows:
        return "<p>Nothing was extracted.</p>"
    return f"<table><tr><th>label</th><th>span</th><th>offsets</th><th>found</th></tr>{''.join(rows)}</table>"


def _rejected(extraction: Extraction) -> str:
    if not extraction.rejected:
        return ""
    items = "".join(
        f"<tr><td>{escape(item.label)}</td><td>{escape(', '.join(item.spans) or item.answer)}</td>"
        f"<td>{escape(item.reason)}</td></tr>"
        for item in extraction.rejected
    )
    return f"<h3>Left out of the result</h3><table><tr><th>label</th><th>said</th><th>why</th></tr>{items}</table>"


def _demonstrations(demonstrations: Sequence[Demonstration], palette: dict[str, str]) -> str:
    if not demonstrations:
        return "<p>None.</p>"
    rows = "".join(
        f'<tr><td class="number">{shown.score:.3f}</td><td class="text">{_annotated(shown.example, palette)}'
        f"{'' if shown.example.annotations else ' <em>(nothing to extract)</em>'}</td></tr>"
        for shown in demonstrations
    )
    return f"<table><tr><th>score</th><th>example</th></tr>{rows}</table>"

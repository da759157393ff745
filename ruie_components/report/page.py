"""One self-contained HTML page of extractions: spans in their texts, demonstrations with reasons, prompts.

The page loads no external content. Its content security policy allows only its own style sheet and script, by their
hashes, so markup in texts, labels and answers stays inert even if escaping fails.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from ruie_components.extraction import ExtractionResult
from ruie_components.files import atomic_text
from ruie_components.integers import counted
from ruie_components.prompts import TASK_NAMES, Prompt
from ruie_components.report import highlight
from ruie_components.types import Demonstration, Example, Extraction, Span

_ARROW = " \u2192 "  # from head to tail
_SEPARATOR = " \u00b7 "
_INDEX_LENGTH = 80  # characters of a text in the index
_Annotation = tuple[str, tuple[Span, ...]]


def render(
    results: Sequence[ExtractionResult],
    *,
    gold: Sequence[Example | None] | None = None,
    title: str = "Extractions",
    lead: str = "",
) -> str:
    """Render the page: totals, filters, an index, and one article per result.

    Args:
        results: Results of an ``Extractor``.
        gold: The labelled example of each result, in the same order, or ``None`` for a result without one. Articles
            then show the gold annotations and mark missed, spurious and wrongly labelled ones.
        title: The page's title.
        lead: A sentence below the title, such as the name of the model.

    Returns:
        A complete HTML document.

    Raises:
        ValueError: ``gold`` has another length than ``results``.
    """
    if gold is not None and len(gold) != len(results):
        raise ValueError(f"got {len(results)} results and {len(gold)} gold examples; give one example for each result")
    for result, example in zip(results, gold or (), strict=gold is not None):
        if example and result.extraction.text != example.text:
            raise ValueError(
                f"gold example {example.text[:60]!r} is not of the same text as {result.extraction.text[:60]!r}"
            )
    known: Sequence[Example | None] = gold if gold is not None else [None] * len(results)
    problems = [
        _problems(result, example) + ["no gold annotations"] * (gold is not None and example is None)
        for result, example in zip(results, known, strict=True)
    ]
    articles = "".join(
        _article(number, result, example, of_result)
        for number, (result, example, of_result) in enumerate(zip(results, known, problems, strict=True), start=1)
    )
    style, script = _asset("style.css"), _asset("script.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    lead_line = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f'<body><a class="skip" href="#results">Skip to the results</a><header><h1>{escape(title)}</h1>{lead_line}'
        f"{_totals(results, problems)}</header>{_filters(results, problems)}{_index(results)}"
        f'<main id="results">{articles}</main><script>{script}</script></body></html>'
    )


def write(
    path: str | Path,
    results: Sequence[ExtractionResult],
    *,
    gold: Sequence[Example | None] | None = None,
    title: str = "Extractions",
    lead: str = "",
) -> Path:
    """Write the page to a file, creating its folder if necessary, and return its path. Arguments as in ``render``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # an answer may contain half a surrogate pair, which must not fail the page
    with atomic_text(path, errors="replace") as file:
        file.write(render(results, gold=gold, title=title, lead=lead))
    return path


@cache
def _asset(name: str) -> str:
    palette = "".join(f".c{i}{{background:{c};border-color:{c}}}" for i, c in enumerate(highlight.PALETTE))
    text = files("ruie_components.report").joinpath(name).read_text("utf-8")
    under = "".join(f".under.c{i}{{background:none;border-bottom-color:{c}}}" for i, c in enumerate(highlight.PALETTE))
    return palette + text + under if name.endswith(".css") else text


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _problems(result: ExtractionResult, gold: Example | None) -> list[str]:
    """The kinds of problems of a result, as named in the filter."""
    problems = [str(item.reason) for item in result.extraction.rejected]
    if result.error:
        problems.append("failed")
    elif not result.extraction.annotations:
        problems.append("nothing extracted")
    if result.usage.truncated:
        problems.append("truncated")
    if gold is not None:
        problems += [kind for kind, _ in _compare(result.extraction, gold)]
    return list(dict.fromkeys(problems))


def _key(annotation: _Annotation) -> tuple[object, ...]:
    label, spans = annotation
    return (label, *(span.offsets for span in spans))


def _compare(extraction: Extraction, gold: Example) -> list[tuple[str, _Annotation]]:
    """The differences to the gold annotations: ``missed``, ``spurious``, or ``wrong label`` at the right offsets."""
    wanted, given = Counter(map(_key, gold.annotations)), Counter(map(_key, extraction.annotations))
    missed = [one for one in gold.annotations if _key(one) in wanted - given]
    spurious = [one for one in extraction.annotations if _key(one) in given - wanted]
    both = {_key(one)[1:] for one in missed} & {_key(one)[1:] for one in spurious}
    kinds = [("wrong label" if _key(one)[1:] in both else "spurious", one) for one in spurious]
    return kinds + [("missed", one) for one in missed if _key(one)[1:] not in both]


def _totals(results: Sequence[ExtractionResult], problems: Sequence[Sequence[str]]) -> str:
    items = sum(len(result.extraction.annotations) for result in results)
    kinds = Counter(kind for of_result in problems for kind in of_result)
    facts = [
        ("result" if len(results) == 1 else "results", len(results)),
        ("item extracted" if items == 1 else "items extracted", items),
        *sorted(kinds.items()),
    ]
    return f'<ul class="totals">{"".join(f"<li><b>{n:,}</b> {escape(name)}</li>" for name, n in facts)}</ul>'


def _filters(results: Sequence[ExtractionResult], problems: Sequence[Sequence[str]]) -> str:
    labels = sorted({label for result in results for label in result.extraction.annotation_labels})
    kinds = sorted({kind for of_result in problems for kind in of_result})
    return (
        '<div class="filters" role="search">'
        '<label>Text <input id="search" type="search" autocomplete="off"></label>'
        f'<label>Label <select id="label"><option value="">all</option>{_options(labels)}</select></label>'
        f'<label>Problem <select id="problem"><option value="">all</option>'
        f"{_options(kinds, dashed=True)}</select></label>"
        '<span id="status" role="status" aria-live="polite"></span></div>'
    )


def _options(values: Iterable[str], *, dashed: bool = False) -> str:
    return "".join(
        f'<option value="{escape(_dashed(value) if dashed else value)}">{escape(value)}</option>' for value in values
    )


def _dashed(kind: str) -> str:
    return kind.replace(" ", "-")


def _index(results: Sequence[ExtractionResult]) -> str:
    entries = "".join(
        f'<li><a href="#r{number}">{escape(" ".join(result.extraction.text[:_INDEX_LENGTH].split()))}</a></li>'
        for number, result in enumerate(results, start=1)
    )
    return (
        f'<nav class="index" aria-label="Results"><details><summary>Index</summary><ol>{entries}</ol></details></nav>'
    )


def _article(number: int, result: ExtractionResult, gold: Example | None, problems: Sequence[str]) -> str:
    extraction = result.extraction
    parts = [("", result.demonstrations)]
    parts += [(f"Characters {each.start} to {each.end}: ", each.demonstrations) for each in result.chunk_demonstrations]
    shown = [mark.label for _, part in parts for item in part for mark in highlight.marks_of(item.example)]
    indices = highlight.label_indices([*extraction.labels, *shown])  # one colour per label in the whole article
    error = f'<p class="problem">Failed: {escape(result.error)}</p>' if result.error else ""
    data = (
        f'data-labels="{escape(json.dumps(sorted(set(extraction.annotation_labels))))}" '
        f'data-problems="{escape(" ".join(map(_dashed, problems)))}" '
        f'data-words="{escape(extraction.text.lower())}"'
    )
    return (
        f'<article id="r{number}" tabindex="-1" aria-labelledby="h{number}" {data}>'
        f'<h2 id="h{number}">{number}. {escape(TASK_NAMES[extraction.task])}{_event(result.prompt)}</h2>'
        f'<p class="text result-text">{_annotated(extraction, indices)}</p>{error}'
        f"{'' if error else _extracted(extraction)}{_rejected(extraction)}{_gold(extraction, gold, indices)}"
        f"{''.join(_demonstrations(of_part, part, indices) for of_part, part in parts)}"
        f'<p class="facts">{_SEPARATOR.join(_facts(result))}</p>'
        f"{_folded_text('The prompt', result.prompt.text if result.prompt else '')}"
        f"{_folded_text('The answer of the model', extraction.answer)}</article>"
    )


def _event(prompt: Prompt | None) -> str:
    event = prompt.query.event if prompt else None
    return f" of {escape(event.type)}: {escape(event.trigger)}" if event else ""


def _facts(result: ExtractionResult) -> list[str]:
    usage = result.usage
    facts = [counted(usage.demonstrations, "demonstration")]
    if result.prompt:
        facts.append(f"prompt of about {result.prompt.tokens:,} tokens")
    facts.append(f"{usage.seconds:.2f} s")
    if usage.truncated:
        facts.append('<span class="problem">the answer was truncated at the model\'s token limit</span>')
    if usage.dropped:
        facts.append(f"{counted(usage.dropped, 'demonstration')} dropped to fit the budget")
    if usage.input_tokens is not None:
        facts.append(f"{usage.input_tokens:,} tokens read, {usage.output_tokens or 0:,} written")
    return facts


def _folded(title: str, content: str) -> str:
    """Content that a button shows. A browser parses thousands of these in half the time that ``<details>`` take."""
    return (
        f'<button type="button" class="fold" aria-expanded="false">{escape(title)}</button>'
        f'<div class="folded" hidden="until-found">{content}</div>'
    )


def _folded_text(title: str, text: str) -> str:
    return _folded(title, f"<pre>{escape(text)}</pre>") if text else ""


def _annotated(annotated: Example | Extraction, indices: Mapping[str, int]) -> str:
    return highlight.to_html(annotated.text, highlight.marks_of(annotated), indices)


def _table(headings: Sequence[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _annotation_cells(annotation: _Annotation) -> str:
    label, spans = annotation
    offsets = ", ".join(f"{span.start}-{span.end}" for span in spans)
    text = escape(_ARROW.join(span.text for span in spans))
    return f'<td>{escape(label)}</td><td>{text}</td><td class="number">{offsets}</td>'


def _extracted(extraction: Extraction) -> str:
    rows = [
        f"<tr>{_annotation_cells((label, spans))}"
        f"<td>{', '.join(dict.fromkeys(span.grounding for span in spans))}</td></tr>"
        for label, spans in extraction.annotations
    ]
    if not rows:
        return "<p>Nothing was extracted.</p>"
    return _table(("label", "span", "offsets", "match"), rows)


def _rejected(extraction: Extraction) -> str:
    if not extraction.rejected:
        return ""
    rows = (
        f"<tr><td>{escape(item.label)}</td><td>{escape(', '.join(item.spans) or item.answer)}</td>"
        f"<td>{escape(item.reason)}</td></tr>"
        for item in extraction.rejected
    )
    return f"<h3>Rejected parts of the answer</h3>{_table(('label', 'answer', 'reason'), rows)}"


def _gold(extraction: Extraction, gold: Example | None, indices: Mapping[str, int]) -> str:
    if gold is None:
        return ""
    rows = [f"<tr>{_annotation_cells(one)}<td>{kind}</td></tr>" for kind, one in _compare(extraction, gold)]
    table = (
        _table(("label", "span", "offsets", "difference"), rows) if rows else "<p>Equal to the gold annotations.</p>"
    )
    return f'<h3>Gold annotations</h3><p class="text result-text">{_annotated(gold, indices)}</p>{table}'


def _demonstrations(of_part: str, demonstrations: Sequence[Demonstration], indices: Mapping[str, int]) -> str:
    if not demonstrations:
        return ""
    headings = ("why it was chosen", "example") if any(map(_is_explained, demonstrations)) else ("score", "example")
    rows = (
        f'<tr>{_why(shown)}<td class="text">{_annotated(shown.example, indices)}'
        f"{'' if shown.example.annotations else ' <em>(nothing to extract)</em>'}</td></tr>"
        for shown in demonstrations
    )
    return _folded(f"{of_part}{counted(len(demonstrations), 'demonstration')}, best first", _table(headings, rows))


def _is_explained(demonstration: Demonstration) -> bool:
    """Whether it needs an explanation beyond its score: the method is not similarity."""
    return demonstration.reason is not None and demonstration.reason.method != "similarity"


def _why(demonstration: Demonstration) -> str:
    if not _is_explained(demonstration):
        return f'<td class="number">{demonstration.score:.3f}</td>'
    return f'<td class="why">{escape(str(demonstration.reason))}</td>'

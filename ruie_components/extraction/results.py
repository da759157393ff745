"""What comes back for a query: the extraction, what the model was shown, and what it took."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field, replace
from html import escape
from typing import Any

from ruie_components.prompts import Prompt
from ruie_components.types import Demonstration, Extraction, Query, Span, Task


class AnswerTruncatedWarning(UserWarning):
    """The model was stopped at its token limit before it had finished its answer."""


@dataclass(frozen=True)
class Usage:
    """What one extraction took.

    Attributes:
        input_tokens: Tokens of the prompt as the model counted them; ``None`` where it doesn't say.
        output_tokens: Tokens of the answer as the model counted them; ``None`` where it doesn't say.
        demonstrations: How many demonstrations the prompt shows.
        dropped: How many were retrieved but did not fit the token budget.
        seconds: From the ready prompt to the parsed answer, retries and waits included.
        truncated: Whether the model was stopped at its token limit. The extraction then has the finished items only.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    demonstrations: int = 0
    dropped: int = 0
    seconds: float = 0.0
    truncated: bool = False


@dataclass(frozen=True)
class Estimate:
    """What a run would take, before it is begun.

    Attributes:
        requests: How many requests the chat model would get: one for each different query.
        input_tokens: Tokens of all their prompts, by the extractor's ``count_tokens``.
        longest: Tokens of the longest prompt: the context that the model needs, without the answer.
        failed: Queries whose prompt can't be written.
    """

    requests: int
    input_tokens: int
    longest: int
    failed: int = 0


@dataclass(frozen=True, repr=False)
class ExtractionResult:
    """The result of one query.

    Attributes:
        extraction: The spans extracted from the text, and which parts of the answer were rejected and why. Empty where
            ``error`` is set.
        prompt: What the model was sent; ``None`` where no prompt could be written.
        usage: Tokens, demonstrations, seconds.
        error: Why there is no answer, for a person to read. Only ``extract_many`` returns results with an error;
            ``extract`` raises it.
        id: The query's id, where it has one.
        metadata: The query's metadata: what its row held beside the text, the task and the labels.
    """

    extraction: Extraction
    prompt: Prompt | None
    usage: Usage
    error: str | None = None
    id: str | int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [f"{label}: {', '.join(span.text for span in spans)}" for label, spans in self.extraction.annotations]
        shown = "; ".join(parts[:5]) + (f"; ... ({len(parts)} in all)" if len(parts) > 5 else "") or "nothing"
        more = [f"error={self.error!r}"] if self.error else []
        more += [f"{len(self.extraction.rejected)} rejected"] if self.extraction.rejected else []
        more += ["truncated"] if self.usage.truncated else []
        return f"ExtractionResult({', '.join([f'{self.extraction.task} {shown}', *more])})"

    def _repr_html_(self) -> str:
        """A table of the spans, for notebooks."""
        head = "".join(f"<th>{name}</th>" for name in _SHOWN_COLUMNS)
        rows = [[escape(str(row[name])) for name in _SHOWN_COLUMNS] for row in self.to_rows()]
        body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in rows)
        error = f"<p><strong>{escape(self.error)}</strong></p>" if self.error else ""
        return f"<p>{escape(self.extraction.text[:1000])}</p>{error}<table><tr>{head}</tr>{body}</table>"

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The demonstrations that the model was shown, best first (in the prompt the best is the last)."""
        return tuple(reversed(self.prompt.demonstrations)) if self.prompt else ()

    def to_row(self) -> dict[str, Any]:
        """A JSON object: the extraction, the ids and scores of the demonstrations, the usage, and the error if any."""
        row: dict[str, Any] = {} if self.id is None else {"id": self.id}
        row |= {"metadata": self.metadata} if self.metadata else {}
        row |= {
            "extraction": self.extraction.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "demonstrations": [(shown.example.content_id, shown.score) for shown in self.demonstrations],
            "usage": asdict(self.usage),
        }
        return row if self.error is None else {**row, "error": self.error}

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row a span, as a table or ``pandas.DataFrame`` takes them.

        Keys are those of ``COLUMNS``. ``item`` numbers the entities, relations or events of the text, so that the
        head and the tail of a relation share a number; ``role`` is "entity", "head", "tail", "trigger", or an
        argument's role.
        """
        return [
            {"id": self.id, "task": self.extraction.task.value, "item": item, "type": label, "role": role}
            | {"span": span.text, "start": span.start, "end": span.end, "text": self.extraction.text}
            for item, (label, role, span) in _spans(self.extraction)
        ]


COLUMNS = ("id", "task", "item", "type", "role", "span", "start", "end", "text")
"""The keys of ``ExtractionResult.to_rows``."""

_SHOWN_COLUMNS = ("type", "role", "span", "start", "end")


def _spans(extraction: Extraction) -> list[tuple[int, tuple[str, str, Span]]]:
    items: list[list[tuple[str, str, Span]]]
    match extraction.task:
        case Task.NER:
            items = [[(entity.type, "entity", entity)] for entity in extraction.entities]
        case Task.RE:
            items = [[(one.type, "head", one.head), (one.type, "tail", one.tail)] for one in extraction.relations]
        case _:
            items = [
                [
                    (event.type, "trigger", event.trigger),
                    *((event.type, argument.role, argument) for argument in event.arguments),
                ]
                for event in extraction.events
            ]
    return [(number, span) for number, item in enumerate(items) for span in item]


def identified(result: ExtractionResult, query: Query) -> ExtractionResult:
    """The result with the id and the metadata of a query."""
    return replace(result, id=query.id, metadata=dict(query.metadata))


def failed(query: Query, prompt: Prompt | None, error: Exception, seconds: float = 0.0) -> ExtractionResult:
    """The result of a query that has no answer: no spans, and the error as text."""
    return ExtractionResult(
        extraction=Extraction(task=query.task, text=query.text, labels=query.labels),
        prompt=prompt,
        usage=usage_of(prompt, seconds=seconds),
        error=f"{type(error).__name__}: {error}",
    )


def usage_of(
    prompt: Prompt | None,
    *,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    seconds: float = 0.0,
    truncated: bool = False,
) -> Usage:
    """The usage of a prompt and the answer to it."""
    shown = len(prompt.demonstrations) if prompt else 0
    return Usage(input_tokens, output_tokens, shown, prompt.dropped if prompt else 0, seconds, truncated)


def warn_truncated(answer: str) -> None:
    """Warn that an answer is incomplete."""
    warnings.warn(
        f"the model's answer was truncated at its token limit, after {answer[-40:]!r}: only its finished items count. "
        "Raise the limit (num_predict for Ollama, max_tokens for others), or give shorter texts.",
        AnswerTruncatedWarning,
        stacklevel=3,
    )

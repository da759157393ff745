"""The result of a query: the extraction, the prompt and the usage."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from ruie_components.chat.cut_prompts import PromptCutWarning, describe_cut, is_cut
from ruie_components.errors import RowError, explain
from ruie_components.extraction.confidence import Confidence
from ruie_components.files import read_lines
from ruie_components.formats.table import numbered_spans, span_rows
from ruie_components.prompts import AnswerFormat, Order, Prompt, build_prompt, default_instruction
from ruie_components.types import Demonstration, EventQuery, Example, Extraction, Query, Span, Task


class AnswerTruncatedWarning(UserWarning):
    """The answer was cut off at the model's token limit."""


@dataclass(frozen=True)
class Usage:
    """The usage of one extraction.

    Attributes:
        input_tokens: Tokens of the prompt as the model counted them; ``None`` if unknown.
        output_tokens: Tokens of the answer as the model counted them; ``None`` if unknown.
        demonstrations: The number of demonstrations in the prompt.
        dropped: The number of retrieved demonstrations that did not fit the token budget.
        seconds: From the prompt to the answer, retries and waits included; for a cached answer those of its request.
        truncated: Whether the answer was cut off at the token limit. The extraction then has only the finished items.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    demonstrations: int = 0
    dropped: int = 0
    seconds: float = 0.0
    truncated: bool = False

    @classmethod
    def total(cls, usages: Sequence[Usage]) -> Usage:
        """The sums of several usages; of tokens, those that are known."""

        def tokens(counts: Iterable[int | None]) -> int | None:
            known = [count for count in counts if count is not None]
            return sum(known) if known else None

        return cls(
            input_tokens=tokens(usage.input_tokens for usage in usages),
            output_tokens=tokens(usage.output_tokens for usage in usages),
            demonstrations=sum(usage.demonstrations for usage in usages),
            dropped=sum(usage.dropped for usage in usages),
            seconds=sum(usage.seconds for usage in usages),
            truncated=any(usage.truncated for usage in usages),
        )


@dataclass(frozen=True)
class Estimate:
    """An estimate of a run before it starts.

    Attributes:
        requests: The number of requests: one per different query.
        input_tokens: Tokens of all prompts, by the extractor's ``count_tokens``.
        longest: Tokens of the longest prompt: the context that the model needs, without the answer.
        failed: The number of queries whose prompt can't be written.
    """

    requests: int
    input_tokens: int
    longest: int
    failed: int = 0


class ChunkDemonstrations(NamedTuple):
    """The demonstrations of the prompt of one chunk, ``text[start:end]``, best first."""

    start: int
    end: int
    demonstrations: tuple[Demonstration, ...]


@dataclass(frozen=True, repr=False)
class ExtractionResult:
    """The result of one query.

    Attributes:
        extraction: The annotations of the text, and the rejected parts of the answer. Empty if ``error`` is set.
        prompt: The prompt; ``None`` if it could not be written.
        usage: Tokens, demonstrations, seconds.
        error: A message that says why there is no answer. Only ``extract_many`` returns results with an error;
            ``extract`` raises it.
        id: The query's id, if it has one.
        metadata: The query's metadata: the other keys of its row.
        confidence: The confidence of each of ``extraction.annotations``, if the model returns token probabilities or
            ``Extractor.agree`` was called; else empty.
        chunk_demonstrations: The demonstrations of each chunk, if the text was cut; there is no ``prompt`` then.
        resumed: Whether an earlier run asked for the answer, which was read from the file ``resume``. Not compared.
    """

    extraction: Extraction
    prompt: Prompt | None
    usage: Usage
    error: str | None = None
    id: str | int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    confidence: tuple[Confidence, ...] = ()
    chunk_demonstrations: tuple[ChunkDemonstrations, ...] = ()
    resumed: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        # as in Prompt: some serializers return tuples as lists
        for name in ("confidence", "chunk_demonstrations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

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
        """The demonstrations that the model was shown, best first."""
        return self.prompt.best_first if self.prompt else ()

    @property
    def unanswered(self) -> bool:
        """Whether there is no error, and yet an empty answer."""
        return self.error is None and not self.extraction.answer.strip()

    def to_row(self) -> dict[str, Any]:
        """A JSON object: the extraction, the ids and scores of the demonstrations, the usage, and the error if any.

        ``from_row`` reads it back. The instruction is included only if it is not the task's default.
        """
        row: dict[str, Any] = {} if self.id is None else {"id": self.id}
        row |= {"metadata": self.metadata} if self.metadata else {}
        if self.prompt:
            row["answer_format"] = self.prompt.answer_format.value
            if self.prompt.instruction != default_instruction(self.extraction.task, self.prompt.answer_format):
                row["instruction"] = self.prompt.instruction
        row |= {
            "extraction": self.extraction.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "demonstrations": [(shown.example.content_id, shown.score) for shown in self.demonstrations],
            "usage": asdict(self.usage),
        }
        if self.prompt and self.prompt.order is not Order.SIMILAR_LAST:
            row["order"] = self.prompt.order.value
        if self.prompt and self.prompt.fixed:
            row["fixed"] = self.prompt.fixed  # the last ones of the demonstrations
        if self.confidence:
            row["confidence"] = [asdict(one) for one in self.confidence]
        return row if self.error is None else {**row, "error": self.error}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], examples: Mapping[str, Example] | None = None) -> Self:
        """The result that ``to_row`` wrote.

        Args:
            row: The JSON object.
            examples: Examples by their content ids. If they include all demonstrations of the row, the result has its
                prompt; otherwise its prompt is ``None``. The demonstrations of chunks are those that they include.

        Raises:
            ValueError: The row is not a valid result; the message names the field.
        """
        try:
            extraction = Extraction.model_validate(row["extraction"])
            scores = {str(row_id): float(score) for row_id, score in row["demonstrations"]}
            usage = Usage(**row["usage"])
            confidence = confidence_of(row)
            chunks = tuple(_chunk_demonstrations(chunk, examples or {}) for chunk in row.get("chunks", ()))
        except KeyError as error:
            raise ValueError(f"not a row of a result: it has no {error}") from error
        except ValidationError as error:
            raise ValueError(f"extraction: {explain(error)}") from error
        except TypeError as error:
            raise ValueError(f"not a row of a result: {error}") from error
        prompt = _prompt_of(row, extraction, scores, usage, examples or {})
        metadata = dict(row.get("metadata") or {})
        return cls(extraction, prompt, usage, row.get("error"), row.get("id"), metadata, confidence, chunks)

    def _confidence_of_spans(self, spans: Sequence[tuple[int, tuple[str, str, Span]]]) -> list[Confidence | None]:
        """The confidence of the annotation of each span, except the given trigger of an EAE query."""
        if not self.confidence:
            return [None] * len(spans)
        task, given = self.extraction.task, iter(self.confidence)
        if task is Task.EAE:
            return [None if role == "trigger" else next(given) for _, (_, role, _) in spans]
        return [self.confidence[item] for item, _ in spans]

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row per span, for tables or ``pandas.DataFrame``; the keys are those of ``span_rows``.

        ``confidence`` is that of the annotation, if known.
        """
        sure = self._confidence_of_spans(numbered_spans(self.extraction))
        values = [None if each is None else each.value for each in sure]
        return span_rows(self.extraction, self.id, self.metadata, confidence=values)

    def to_example(self) -> Example:
        """The extraction as a labelled example, to correct and add to a pool.

        Raises:
            ValueError: The result has an error and thus no extraction, or it is for EAE and has no event.
        """
        if self.error is not None:
            raise ValueError(f"the text was not extracted: {self.error}")
        row = self.extraction.model_dump(exclude={"rejected", "answer"}, exclude_defaults=True)
        for span in _dumped_spans(row):
            span.pop("grounding", None)  # an example does not record how a span was matched
        return Example.model_validate({**row, "id": self.id, "metadata": self.metadata})


_SHOWN_COLUMNS = ("type", "role", "span", "start", "end")


def _dumped_spans(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from row.get("entities", ())
    for relation in row.get("relations", ()):
        yield from (relation["head"], relation["tail"])
    for event in row.get("events", ()):
        yield from (event["trigger"], *event.get("arguments", ()))


def confidence_of(row: Mapping[str, Any]) -> tuple[Confidence, ...]:
    """The confidence that ``ExtractionResult.to_row`` wrote."""
    return tuple(Confidence(**one) for one in row.get("confidence") or ())


def _chunk_demonstrations(chunk: Mapping[str, Any], examples: Mapping[str, Example]) -> ChunkDemonstrations:
    shown = [
        Demonstration(example=examples[row_id], score=score)
        for row_id, score in chunk["demonstrations"]
        if row_id in examples
    ]
    return ChunkDemonstrations(chunk["start"], chunk["end"], tuple(shown))


def _prompt_of(
    row: Mapping[str, Any],
    extraction: Extraction,
    scores: Mapping[str, float],
    usage: Usage,
    examples: Mapping[str, Example],
) -> Prompt | None:
    """The prompt of a row; ``None`` if there was none, or if one of its demonstrations is missing."""
    is_eae = extraction.task is Task.EAE
    if "answer_format" not in row or (is_eae and not extraction.events) or not scores.keys() <= examples.keys():
        return None
    event = None
    if is_eae:
        (annotated,) = extraction.events
        trigger = annotated.trigger
        event = EventQuery(type=annotated.type, trigger=trigger.text, start=trigger.start)
    query = Query(task=extraction.task, text=extraction.text, labels=extraction.labels, event=event)
    shown = [Demonstration(example=examples[row_id], score=score) for row_id, score in scores.items()]
    answer_format = AnswerFormat(row["answer_format"])
    order, instruction = Order(row.get("order", Order.SIMILAR_LAST)), row.get("instruction")
    chosen = len(shown) - row.get("fixed", 0)
    prompt = build_prompt(
        query,
        shown[:chosen],
        fixed=shown[chosen:],
        answer_format=answer_format,
        instruction=instruction,
        order=order,
    )
    return replace(prompt, dropped=usage.dropped)


def read_results(
    path: Path | str, get_examples: Callable[[Iterable[str]], Sequence[Example]] | None = None
) -> list[ExtractionResult]:
    """The results of a JSON Lines file, as ``Extractor.extract_many(resume=...)`` and ``ruie extract --out`` write it.

    Args:
        path: The file.
        get_examples: Reads examples by their ids, such as ``store.get``. With it, results have their prompts, and those
            of several chunks the demonstrations of each.

    Returns:
        The results, in the file's order, without an unfinished last line of an interrupted run.

    Raises:
        RowError: The file can't be read, or a row is not a valid result; the message names file, line and field.
    """
    rows = _finished_rows(path)
    examples: dict[str, Example] = {}
    if get_examples is not None:
        parts = (part for _, row in rows for part in (row, *row.get("chunks", ())))
        ids = dict.fromkeys(str(shown[0]) for part in parts for shown in part.get("demonstrations", ()) if shown)
        examples = {example.content_id: example for example in get_examples(ids)}
    results = []
    for location, row in rows:
        try:
            results.append(ExtractionResult.from_row(row, examples))
        except ValueError as error:
            raise RowError(f"{location}: {error}; expected a line that `ruie extract --out` wrote") from error
    return results


def _finished_rows(path: Path | str) -> list[tuple[str, dict[str, Any]]]:
    lines = list(read_lines(path, errors="surrogatepass"))  # answers may contain half a surrogate pair
    rows = []
    for number, (location, line) in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise RowError(f"{location}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise RowError(f"{location}: expected a JSON object, got {type(row).__name__}")
        rows.append((location, row))
    return rows


def identified(result: ExtractionResult, query: Query) -> ExtractionResult:
    """The result with the id and the metadata of a query."""
    return replace(result, id=query.id, metadata=dict(query.metadata))


def failed(query: Query, prompt: Prompt | None, error: Exception, seconds: float = 0.0) -> ExtractionResult:
    """The result of a failed query: no spans, and the error as text."""
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
        f"the model's answer was truncated at its token limit, after {answer[-40:]!r}: only finished items are used. "
        "Raise the limit (num_predict for Ollama, max_tokens for others), or give shorter texts.",
        AnswerTruncatedWarning,
        stacklevel=3,
    )


def warn_if_cut(model: str, prompt: Prompt, read: int | None) -> None:
    """Warn if a model has read only part of a prompt.

    Args:
        model: The model's name.
        prompt: The prompt.
        read: Its tokens by the model's count.
    """
    contents = [content for _, content in prompt.messages]
    if read is not None and is_cut(read, contents):
        warnings.warn(
            f"{describe_cut(repr(model), read, contents)} Give the server a larger context (OLLAMA_CONTEXT_LENGTH for "
            "Ollama), show fewer demonstrations, or set max_tokens.",
            PromptCutWarning,
            stacklevel=3,
        )

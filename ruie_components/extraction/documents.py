"""Documents of any length: cut into chunks at sentence ends, extracted by chunk, merged with document offsets."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

from ruie_components.answers.sentences import Sentences
from ruie_components.extraction.confidence import Confidence
from ruie_components.extraction.results import ChunkDemonstrations, ExtractionResult, Usage
from ruie_components.integers import counted, whole_number
from ruie_components.prompts import TokenCounter, estimate_tokens
from ruie_components.tokenization import cuts_word
from ruie_components.types import Argument, Event, EventQuery, Extraction, Query, Span, Task

SHORTEST_CHUNK, LONGEST_CHUNK = 64, 512
"""The limits, in tokens, of a chunk whose length is not given."""

_LARGEST_CONTEXT = 4  # the context takes at most this fraction (1/n) of a chunk's budget


@dataclass(frozen=True)
class Chunking:
    """How to cut a document.

    Args:
        max_tokens: The budget of a chunk with its context, in tokens of the text only. A shorter text is one chunk.
            Default: the length that nine of ten examples of the pool don't exceed, but 64 to 512. A language model
            finds little in a text that is longer than its demonstrations (docs/evaluation.md).
        context_sentences: How many sentences before a chunk to show with it; they take at most a quarter of the budget.
        passes: How often to read the document. Every pass cuts it differently; annotations of later passes are kept if
            they do not overlap an earlier one with the same label.

    Raises:
        ValueError: A number is out of range.
    """

    max_tokens: int | None = None
    context_sentences: int = 2
    passes: int = 1

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 1), ("context_sentences", 0), ("passes", 1)):
            value = getattr(self, name)
            if value is None and name == "max_tokens":
                continue
            object.__setattr__(self, name, whole_number(name, value, least))


@dataclass(frozen=True)
class Chunk:
    """A part of a document: ``document[start:end]``, shown together with ``document[context_start:start]``.

    The chunks of one pass cover the document without gaps or overlaps.
    """

    start: int
    end: int
    context_start: int
    read: int = 0
    """The pass, from 0."""


@dataclass(frozen=True)
class ChunkResult:
    """The result of one chunk; offsets in ``result`` count from ``chunk.context_start``."""

    chunk: Chunk
    result: ExtractionResult


@dataclass(frozen=True, repr=False)
class DocumentResult(ExtractionResult):
    """The result of one document.

    ``extraction`` has offsets of the document. ``usage`` is the sum over the chunks. ``error`` says how many chunks
    failed; ``extraction`` still has the annotations of the others. ``prompt`` is ``None`` if there are several chunks.

    Attributes:
        chunks: The results of the chunks, in the order of the text, pass by pass.
    """

    chunks: tuple[ChunkResult, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._is_cut:
            shown = [
                ChunkDemonstrations(part.chunk.start, part.chunk.end, part.result.demonstrations)
                for part in self.chunks
            ]
            object.__setattr__(self, "chunk_demonstrations", tuple(shown))

    @property
    def _is_cut(self) -> bool:
        """Whether some prompt showed a part of the document only, as for the one chunk with the trigger of an event."""
        return any(part.result.extraction.text != self.extraction.text for part in self.chunks)

    @property
    def unanswered(self) -> bool:
        """Whether there is no error, and yet an empty answer to some chunk."""
        return self.error is None and any(part.result.unanswered for part in self.chunks)

    def to_row(self) -> dict[str, Any]:
        """The row of the whole document; if it was cut with ``chunks``: offsets, demonstrations, errors."""
        row = super().to_row()
        if self._is_cut:
            row["chunks"] = [_chunk_row(part) for part in self.chunks]
        return row


def _chunk_row(part: ChunkResult) -> dict[str, Any]:
    row: dict[str, Any] = {"start": part.chunk.start, "end": part.chunk.end, "context_start": part.chunk.context_start}
    row |= {"pass": part.chunk.read} if part.chunk.read else {}
    row["demonstrations"] = [(shown.example.content_id, shown.score) for shown in part.result.demonstrations]
    return row | ({"error": part.result.error} if part.result.error is not None else {})


@dataclass(frozen=True)
class Plan:
    """A document with its chunks and their queries."""

    query: Query
    chunks: tuple[Chunk, ...]
    queries: tuple[Query, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the document is a single chunk."""
        return len(self.queries) == 1 and self.queries[0] == self.query


def plan(query: Query, chunking: Chunking, count_tokens: TokenCounter = estimate_tokens) -> Plan:
    """Cut a document and make the query of each chunk; chunks of white space are left out.

    Chunks of a later pass that an earlier pass has too are left out, as of a text that fits into one chunk.

    For EAE only chunks with the trigger are used.
    """
    different: dict[tuple[int, int, int], Chunk] = {}
    for read in range(chunking.passes):
        for chunk in cut(query.text, chunking, count_tokens, read=read):
            if query.text[chunk.start : chunk.end].strip():
                different.setdefault((chunk.context_start, chunk.start, chunk.end), chunk)
    chunks = list(different.values())
    if query.event is not None:
        chunks = _about_event(query.text, query.event, chunks)
    return Plan(query, tuple(chunks), tuple(_chunk_query(query, chunk) for chunk in chunks))


def cut(
    text: str, chunking: Chunking | None = None, count_tokens: TokenCounter = estimate_tokens, *, read: int = 0
) -> list[Chunk]:
    """The chunks of one pass over a text, in order; they end at sentences, or at words within long sentences.

    Args:
        text: The document.
        chunking: How to cut it; without a length, which depends on a pool, 512 tokens per chunk.
        count_tokens: Counts the tokens of a string.
        read: The number of the pass; the first chunk of a later pass is shorter, so that the others end elsewhere.

    >>> text = "Ada slept. Bob met Cy. Dan ran."
    >>> [text[chunk.start:chunk.end] for chunk in cut(text, Chunking(max_tokens=8, context_sentences=0))]
    ['Ada slept. Bob met Cy. ', 'Dan ran.']
    """
    chunking = chunking or Chunking()
    budget = chunking.max_tokens or LONGEST_CHUNK
    pieces = list(_pieces(text, budget, count_tokens))
    sizes = [count_tokens(text[start:end]) for start, end in pieces]
    chunks: list[Chunk] = []
    limit = max(1, budget * (chunking.passes - read) // chunking.passes)  # of the first chunk
    i = 0
    while i < len(pieces):
        used, first = sizes[i], i
        largest = min(used + budget // _LARGEST_CONTEXT, limit)
        while first > 0 and i - first < chunking.context_sentences and used + sizes[first - 1] <= largest:
            first -= 1
            used += sizes[first]
        last = i + 1
        while last < len(pieces) and used + sizes[last] <= limit:
            used += sizes[last]
            last += 1
        chunks.append(Chunk(pieces[i][0], pieces[last - 1][1], pieces[first][0], read))
        i, limit = last, budget
    return chunks


def _pieces(text: str, budget: int, count_tokens: TokenCounter) -> Iterator[tuple[int, int]]:
    """The sentences of a text; sentences over the budget are cut into parts."""
    for start, end in pairwise([*Sentences(text).starts, len(text)]):
        if start < end:
            yield from _halve(text, start, end, budget, count_tokens)


def _halve(text: str, start: int, end: int, budget: int, count_tokens: TokenCounter) -> Iterator[tuple[int, int]]:
    if end - start == 1 or count_tokens(text[start:end]) <= budget:
        yield start, end
        return
    middle = _near_middle(text, start, end)
    yield from _halve(text, start, middle, budget, count_tokens)
    yield from _halve(text, middle, end, budget, count_tokens)


def _near_middle(text: str, start: int, end: int) -> int:
    """Where to cut a long sentence: after white space near its middle, else between words, else between letters."""
    middle = (start + end) // 2
    quarter = (end - start) // 4
    kinds: tuple[Callable[[int], bool], ...] = (
        lambda at: text[at - 1].isspace() and not text[at].isspace(),
        lambda at: not cuts_word(text, at, at) and not _joins(text, at),
        lambda at: not _joins(text, at),
    )
    for fits in kinds:
        for distance in range(quarter + 1):
            for at in (middle - distance, middle + distance):
                if start < at < end and fits(at):
                    return at
    return middle


def _joins(text: str, at: int) -> bool:
    """Whether the characters on both sides are parts of one visible character."""
    after, before = text[at], text[at - 1]
    return unicodedata.category(after) in ("Mn", "Me", "Mc", "Sk", "Cf") or before == "\u200d"


def _about_event(text: str, event: EventQuery, chunks: Sequence[Chunk]) -> list[Chunk]:
    start = event.start if event.start is not None else text.find(event.trigger)
    end = start + len(event.trigger)
    if start < 0:
        return list(chunks[:1])  # the answer handles a trigger that is not in the text
    showing = [chunk for chunk in chunks if chunk.context_start <= start and end <= chunk.end]
    touched = [chunk for chunk in chunks if chunk.start < end and start < chunk.end]
    if not showing and touched:  # the trigger itself is cut
        showing = [replace(touched[0], end=touched[-1].end)]
    return showing


def _chunk_query(query: Query, chunk: Chunk) -> Query:
    text = query.text[chunk.context_start : chunk.end]
    event = query.event
    if event is not None:
        start = event.start if event.start is not None else query.text.find(event.trigger)
        event = event.model_copy(update={"start": start - chunk.context_start if start >= 0 else None})
    # already validated, as part of the document
    if text == query.text:
        return query
    return Query.model_construct(task=query.task, text=text, labels=query.labels, event=event, id=None, metadata={})


def queries_of(plans: Iterable[Plan]) -> list[Query]:
    """The queries of all chunks of several documents."""
    return [query for plan in plans for query in plan.queries]


def merge_all(plans: Iterable[Plan], results: Iterable[ExtractionResult]) -> list[DocumentResult]:
    """Merge the results of all chunks of several documents, in the order of ``queries_of``."""
    coming = iter(results)
    return [merge(plan, list(islice(coming, len(plan.queries)))) for plan in plans]


def failures(results: Sequence[ExtractionResult]) -> list[int]:
    """The indices of chunks whose request failed: they have a prompt but no answer."""
    return [i for i, result in enumerate(results) if result.error is not None and result.prompt is not None]


def replaced(
    results: Sequence[ExtractionResult], indices: Sequence[int], others: Sequence[ExtractionResult]
) -> list[ExtractionResult]:
    """A copy of the results with replacements at some indices."""
    changed = dict(zip(indices, others, strict=True))
    return [changed.get(i, result) for i, result in enumerate(results)]


def merge(plan: Plan, results: Sequence[ExtractionResult]) -> DocumentResult:
    """Merge the results of a document's chunks, with document offsets.

    An annotation is kept if at least one of its spans ends after the chunk's context. One entirely in the context
    belongs to the previous chunk, whose result decides; but an entity or trigger whose words occur in the chunk again
    is moved there, and it is kept if the previous chunk failed.

    Args:
        plan: The document.
        results: One for each query of the plan, in order.
    """
    query = plan.query
    parts = tuple(ChunkResult(*each) for each in zip(plan.chunks, results, strict=True))
    if plan.is_whole:
        (result,) = results
        names = ("extraction", "prompt", "usage", "error", "confidence", "resumed")
        whole = {name: getattr(result, name) for name in names}
        return DocumentResult(**whole, id=query.id, metadata=dict(query.metadata), chunks=parts)
    merged = _Merged(query)
    for part in parts:
        failed = [each.chunk for each in parts if each.result.error is not None and each.chunk.read == part.chunk.read]
        merged.add(part, failed)
    return DocumentResult(
        extraction=merged.extraction(parts),
        prompt=None,
        usage=Usage.total([result.usage for result in results]),
        error=_error(parts),
        id=query.id,
        metadata=dict(query.metadata),
        confidence=merged.confidence,
        resumed=all(result.resumed for result in results),
        chunks=parts,
    )


_Item = tuple[str, tuple[Span, ...], Confidence | None]
"""A label, its spans (an entity, head and tail, a trigger, an argument) and its confidence."""


class _Merged:
    """Annotations of one document, collected chunk by chunk."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._items: dict[tuple[str, tuple[tuple[int, int], ...]], _Item] = {}
        self._last_read = 0
        self._earlier: dict[str, list[tuple[Span, ...]]] = {}  # spans of earlier passes, by label
        self._trigger: Span | None = None

    def add(self, part: ChunkResult, failed: Sequence[Chunk]) -> None:
        chunk, extraction, confidence = part.chunk, part.result.extraction, part.result.confidence
        if chunk.read != self._last_read:
            self._last_read, self._earlier = chunk.read, {}
            for label, spans, _ in self._items.values():
                self._earlier.setdefault(label, []).append(spans)
        if self._query.task is Task.EAE and extraction.events:
            self._trigger = _shifted(extraction.events[0].trigger, chunk.context_start)
        for i, (label, in_chunk) in enumerate(extraction.annotations):
            spans = tuple(_shifted(span, chunk.context_start) for span in in_chunk)
            if self._query.task is not Task.EAE and max(span.end for span in spans) <= chunk.start:
                spans = self._in_context(label, spans, chunk, failed)
            if spans and not self._is_known(label, spans):
                sure = confidence[i] if confidence else None
                self._items.setdefault((label, tuple(span.offsets for span in spans)), (label, spans, sure))

    def _in_context(
        self, label: str, spans: tuple[Span, ...], chunk: Chunk, failed: Sequence[Chunk]
    ) -> tuple[Span, ...]:
        """The replacement of an annotation that is entirely in the context; empty if it is dropped."""
        if any(each.start <= span.start < each.end for each in failed for span in spans):
            return spans
        if self._query.task is Task.RE:
            return ()
        (span,) = spans
        text, at = self._query.text, chunk.start
        while (at := text.find(span.text, at, chunk.end)) >= 0:
            end = at + len(span.text)
            if not cuts_word(text, at, end) and (label, ((at, end),)) not in self._items:
                return (span.model_copy(update={"start": at, "end": end}),)
            at = end
        return ()

    def _is_known(self, label: str, spans: tuple[Span, ...]) -> bool:
        """Whether an earlier pass has an overlapping annotation with this label."""
        return any(
            all(one.start < other.end and other.start < one.end for one, other in zip(spans, others, strict=True))
            for others in self._earlier.get(label, ())
        )

    @property
    def _in_order(self) -> list[_Item]:
        return sorted(self._items.values(), key=lambda item: [span.offsets for span in item[1]])

    @property
    def confidence(self) -> tuple[Confidence, ...]:
        """The confidence of each annotation; empty if any has none."""
        known = [sure for _, _, sure in self._in_order if sure is not None]
        return tuple(known) if len(known) == len(self._items) else ()

    def extraction(self, parts: Sequence[ChunkResult]) -> Extraction:
        """The document's extraction."""
        query = self._query
        items = [(label, spans) for label, spans, _ in self._in_order]
        given: dict[str, Any] = {"task": query.task, "text": query.text, "labels": query.labels}
        match query.task:
            case Task.NER:
                given["entities"] = tuple({**dict(span), "type": label} for label, (span,) in items)
            case Task.RE:
                given["relations"] = tuple({"type": label, "head": head, "tail": tail} for label, (head, tail) in items)
            case Task.ED:
                given["events"] = tuple({"type": label, "trigger": span} for label, (span,) in items)
            case Task.EAE if query.event and self._trigger:
                arguments = tuple(Argument(**{**dict(span), "role": label}) for label, (span,) in items)
                given["events"] = (Event(type=query.event.type, trigger=self._trigger, arguments=arguments),)
        given["rejected"] = tuple(each for part in parts for each in part.result.extraction.rejected)
        given["answer"] = "\n".join(part.result.extraction.answer for part in parts if part.result.extraction.answer)
        return Extraction.model_validate(given)


def _shifted(span: Span, by: int) -> Span:
    return Span(text=span.text, start=span.start + by, end=span.end + by, grounding=span.grounding)


def _error(parts: Sequence[ChunkResult]) -> str | None:
    failed = [part for part in parts if part.result.error is not None]
    if not failed:
        return None
    first = failed[0]
    return (
        f"{len(failed)} of {counted(len(parts), 'chunk')} failed; the first, characters {first.chunk.start} to "
        f"{first.chunk.end}: {first.result.error}"
    )

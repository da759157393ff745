"""From items to an extraction: lists and pairs split, spans grounded and assigned, the rest rejected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from ruie_components.answers.grounding import Grounder, SpanMatch
from ruie_components.answers.items import Item
from ruie_components.answers.label_matcher import LabelMatcher, says_nothing
from ruie_components.answers.mention_assignment import (
    AssignedSpan,
    PredictedSpan,
    RelationAssigner,
    Sentences,
    assign_in_order,
    assign_near,
)
from ruie_components.prompts import one_line
from ruie_components.types import (
    Argument,
    Demonstration,
    Entity,
    Event,
    Extraction,
    Grounding,
    Query,
    Rejected,
    Rejection,
    Relation,
    Span,
    Task,
)

_LISTED = re.compile(r"[,\uff0c\u3001;\uff1b]")
_BETWEEN_SIDES = re.compile(r"->|\u2192|[,\uff0c\u3001|]")
_PAIR = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>")
_PAIRS = re.compile(rf"(?:{_PAIR.pattern})(?:\s*[,;\uff0c\uff1b]?\s*(?:{_PAIR.pattern}))+\s*[.]?")
_SEMICOLON = re.compile(r"[;\uff1b]")
_MOST_SPLITS = 32  # of a relation into head and tail
_RANK = {Grounding.EXACT: 3, Grounding.NORMALISED: 2, Grounding.FUZZY: 1}


class ExtractionBuilder:
    """Collects the items of one answer into an extraction."""

    def __init__(
        self,
        query: Query,
        labels: LabelMatcher,
        grounder: Grounder,
        demonstrations: Sequence[Demonstration] = (),
        *,
        all_mentions: bool = False,
    ) -> None:
        self._query, self._labels, self._grounder = query, labels, grounder
        self._demonstrations, self._all_mentions = demonstrations, all_mentions
        self._rejected: list[Rejected] = []
        self._predicted: list[PredictedSpan] = []
        self._relations: list[Relation] = []

    def add(self, item: Item) -> None:
        """Take an item in."""
        if item.superseded:
            self._reject(item, Rejection.SUPERSEDED)
        elif not item.label:
            self._reject(item, Rejection.UNREADABLE)
        elif not item.known:
            self._reject(item, Rejection.UNKNOWN_LABEL)
        elif self._query.task is Task.RE:
            self._add_relation(item)
        else:
            self._add_span(item)

    @cached_property
    def _sentences(self) -> Sentences:
        return Sentences(self._query.text)

    @cached_property
    def _assigner(self) -> RelationAssigner:
        return RelationAssigner(self._grounder, self._sentences)

    def extraction(self, answer: str) -> Extraction:
        """The extraction of all items, with what was rejected."""
        entities: tuple[Entity, ...] = ()
        events: tuple[Event, ...] = ()
        match self._query.task:
            case Task.NER:
                entities = tuple(Entity(type=label, **self._span(match)) for label, match, _ in self._in_order())
            case Task.ED:
                spans = self._in_order(many_labels=True)
                events = tuple(Event(type=label, trigger=Span(**self._span(match))) for label, match, _ in spans)
            case Task.EAE:
                events = self._event_of_query()
            case Task.RE:
                pass
        return Extraction(
            task=self._query.task,
            text=self._query.text,
            labels=self._query.labels,
            entities=entities,
            relations=tuple(self._relations),
            events=events,
            rejected=tuple(self._rejected),
            answer=answer,
        )

    def _in_order(self, *, many_labels: bool = False) -> list[AssignedSpan]:
        return assign_in_order(
            self._predicted, self._grounder, many_labels=many_labels, all_mentions=self._all_mentions
        )

    def _span(self, match: SpanMatch) -> dict[str, Any]:
        start, end, grounding = match
        return {"text": self._query.text[start:end], "start": start, "end": end, "grounding": grounding}

    # spans with a label: entities, triggers, arguments

    def _add_span(self, item: Item) -> None:
        (body,) = item.spans
        offsets = item.offsets[0] if item.offsets else None
        if self._grounder.grounds(body):
            self._predicted.append(PredictedSpan(item.label, body, item.raw, offsets))
            return
        if says_nothing(body):
            return
        groups = self._inner_items(item, body)
        if len(groups) > 1:
            for group in groups:
                self._add_span(group)
            return
        listed = [part for part in (part.strip(" []") for part in _LISTED.split(body)) if part]
        stands = [self._grounder.grounds(part) for part in listed]
        if len(listed) < 2 or not all(stands):
            if self._grounder.nearest(body):
                self._predicted.append(PredictedSpan(item.label, body, item.raw))
                return
            if not any(stands):
                listed = [body]
        for part in listed:
            if self._grounder.matches(part).get(0):
                self._predicted.append(PredictedSpan(item.label, part, item.raw))
            else:
                self._reject(Item(item.label, (part,), item.raw), self._reason([part]))

    def _inner_items(self, item: Item, body: str) -> list[Item]:
        """The items of a body in which labels of the schema follow on commas: ``Ada, place: Paris``."""
        cuts: list[tuple[int, str, int]] = [(0, item.label, 0)]
        for comma in _LISTED.finditer(body):
            match = self._labels.at(body, comma.end(), len(body))
            cuts += [(comma.start(), match.label, match.body)] if match else []
        ends = [start for start, _, _ in cuts[1:]] + [len(body)]
        return [
            Item(label, (body[begin:end].strip(),), body[start:end].strip())
            for (start, label, begin), end in zip(cuts, ends, strict=True)
        ]

    # the event of an EAE query

    def _event_of_query(self) -> tuple[Event, ...]:
        event = self._query.event
        if event is None:
            return ()
        trigger = self._grounder.matches(event.trigger).get(0)
        if event.start is not None:
            trigger = SpanMatch(event.start, event.start + len(event.trigger), Grounding.EXACT)
        spans = assign_near(self._predicted, self._grounder, self._sentences, trigger, all_mentions=self._all_mentions)
        if trigger is None:
            self._reject(Item(event.type, (event.trigger,), ""), Rejection.UNGROUNDED)
            for label, match, raw in spans:
                self._reject(Item(label, (self._query.text[match.start : match.end],), raw), Rejection.UNGROUNDED)
            return ()
        arguments = tuple(Argument(role=label, **self._span(match)) for label, match, _ in spans)
        return (Event(type=event.type, trigger=Span(**self._span(trigger)), arguments=arguments),)

    # relations

    def _add_relation(self, item: Item) -> None:
        if len(item.spans) == 2:
            self._relate(item, item.spans)
            return
        (body,) = item.spans
        sides = self._sides(body)
        if sides and all(map(self._grounder.grounds, sides)):
            self._relate(item, sides)
            return
        groups = self._bracketed(item, body) or self._inner_items(item, body)
        if len(groups) == 1:
            parts = [part.strip() for part in _SEMICOLON.split(body)]
            groups = [Item(item.label, (part,), part) for part in parts if part]
        if len(groups) > 1:
            for group in groups:
                self._add_relation(group)
        elif sides:
            self._relate(item, sides)
        elif not says_nothing(body):
            self._reject(item, Rejection.UNREADABLE)

    def _bracketed(self, item: Item, body: str) -> list[Item]:
        """The pairs of ``(Ada, Rex), (Bob, Rex)``."""
        if not _PAIRS.fullmatch(body):
            return []
        return [Item(item.label, (pair,), pair) for pair in _PAIR.findall(body)]

    def _sides(self, body: str) -> tuple[str, str] | None:
        """Head and tail: the split at a comma of which both sides match the text, as exactly as possible."""
        if body[:1] + body[-1:] in ("()", "[]", "<>"):
            body = body[1:-1]
        best: tuple[int, tuple[str, str]] | None = None
        for comma in islice(_BETWEEN_SIDES.finditer(body), _MOST_SPLITS):
            sides = body[: comma.start()].strip(), body[comma.end() :].strip()
            if all(sides):
                matches = [self._grounder.mentions(side).get(0) for side in sides]
                rank = sum(_RANK[match.grounding] for match in matches if match) + 10 * all(matches)
                if best is None or rank > best[0]:
                    best = rank, sides
        return best[1] if best else None

    def _relate(self, item: Item, sides: tuple[str, ...]) -> None:
        if any(map(says_nothing, sides)) and not all(map(self._grounder.grounds, sides)):
            return  # "works for: Ada, None"
        offsets = item.offsets if len(item.offsets) == len(sides) else (None, None)
        head, tail = (
            PredictedSpan(item.label, side, item.raw, given) for side, given in zip(sides, offsets, strict=True)
        )
        missing = [side for side in sides if self._grounder.matches(side).get(0) is None]
        if missing:
            self._reject(Item(item.label, sides, item.raw), self._reason(missing))
        elif pair := self._assigner.assign(head, tail):
            ends = {"head": Span(**self._span(pair[0])), "tail": Span(**self._span(pair[1]))}
            self._relations.append(Relation(type=item.label, **ends))

    # what is no result

    @cached_property
    def _shown(self) -> Grounder:
        texts = [one_line(shown.example.text) for shown in self._demonstrations]
        return Grounder("\n".join(texts), answer_length=len(self._query.text), threshold=None)

    def _reason(self, missing: Sequence[str]) -> Rejection:
        leaked = self._demonstrations and all(map(self._shown.grounds, missing))
        return Rejection.LEAKED if leaked else Rejection.UNGROUNDED

    def _reject(self, item: Item, reason: Rejection) -> None:
        self._rejected.append(Rejected(reason=reason, label=item.label, spans=item.spans, answer=item.raw))

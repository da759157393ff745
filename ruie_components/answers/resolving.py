"""From items to an extraction: lists and pairs taken apart, spans placed in the text, the rest rejected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from ruie_components.answers.grounding import Grounder, Place
from ruie_components.answers.items import Item
from ruie_components.answers.labels import Labels, says_nothing
from ruie_components.answers.placing import Answered, Placed, in_order, near, pairs
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
_SEMICOLON = re.compile(r"[;\uff1b]")
_MOST_SPLITS = 32  # of a relation into head and tail
_RANK = {Grounding.EXACT: 3, Grounding.NORMALISED: 2, Grounding.FUZZY: 1}


class Resolver:
    """Collects the items of one answer into an extraction."""

    def __init__(
        self, query: Query, labels: Labels, grounder: Grounder, demonstrations: Sequence[Demonstration] = ()
    ) -> None:
        self._query, self._labels, self._grounder = query, labels, grounder
        self._demonstrations = demonstrations
        self._rejected: list[Rejected] = []
        self._answered: list[Answered] = []
        self._relations: dict[tuple[str, tuple[int, int], tuple[int, int]], Relation] = {}

    def add(self, item: Item) -> None:
        """Take an item in."""
        if not item.label:
            self._reject(item, Rejection.UNREADABLE)
        elif not item.known:
            self._reject(item, Rejection.UNKNOWN_LABEL)
        elif self._query.task is Task.RE:
            self._add_relation(item)
        else:
            self._add_span(item)

    def extraction(self, answer: str) -> Extraction:
        """What was found, and what was not."""
        entities: tuple[Entity, ...] = ()
        events: tuple[Event, ...] = ()
        if self._query.task is Task.EAE:
            events = self._asked_event()
        else:
            found = in_order(self._answered, self._grounder, many_labels=self._query.task is Task.ED)
            if self._query.task is Task.NER:
                entities = tuple(Entity(type=label, **self._span(place)) for label, place, _ in found)
            else:
                events = tuple(Event(type=label, trigger=Span(**self._span(place))) for label, place, _ in found)
        return Extraction(
            task=self._query.task,
            text=self._query.text,
            labels=self._query.labels,
            entities=entities,
            relations=tuple(self._relations.values()),
            events=events,
            rejected=tuple(self._rejected),
            answer=answer,
        )

    def _span(self, place: Place) -> dict[str, Any]:
        start, end, grounding = place
        return {"text": self._query.text[start:end], "start": start, "end": end, "grounding": grounding}

    def _stands(self, span: str) -> bool:
        return self._grounder.mentions(span).get(0) is not None

    # spans with a label: entities, triggers, arguments

    def _add_span(self, item: Item) -> None:
        (body,) = item.spans
        if self._stands(body):
            self._answered.append(Answered(item.label, body, item.piece))
            return
        if says_nothing(body):
            return
        groups = self._inner_items(item, body)
        if len(groups) > 1:
            for group in groups:
                self._add_span(group)
            return
        listed = [part for part in (part.strip(" []") for part in _LISTED.split(body)) if part]
        stands = [self._stands(part) for part in listed]
        if len(listed) < 2 or not all(stands):
            if self._grounder.nearest(body):
                self._answered.append(Answered(item.label, body, item.piece))
                return
            if not any(stands):
                listed = [body]
        for part in listed:
            if self._grounder.places(part).get(0):
                self._answered.append(Answered(item.label, part, item.piece))
            else:
                self._reject(Item(item.label, (part,), item.piece), self._reason([part]))

    def _inner_items(self, item: Item, body: str) -> list[Item]:
        """The items of a body in which labels of the schema follow on commas: ``Ada, place: Paris``."""
        cuts: list[tuple[int, str, int]] = [(0, item.label, 0)]
        for comma in _LISTED.finditer(body):
            found = self._labels.at(body, comma.end(), len(body))
            cuts += [(comma.start(), found.label, found.body)] if found else []
        ends = [start for start, _, _ in cuts[1:]] + [len(body)]
        return [
            Item(label, (body[begin:end].strip(),), body[start:end].strip())
            for (start, label, begin), end in zip(cuts, ends, strict=True)
        ]

    # the event that an EAE query asks about

    def _asked_event(self) -> tuple[Event, ...]:
        event = self._query.event
        if event is None:
            return ()
        trigger = self._grounder.places(event.trigger).get(0)
        if event.start is not None:
            trigger = Place(event.start, event.start + len(event.trigger), Grounding.EXACT)
        found = near(self._answered, self._grounder, trigger)
        if trigger is None:
            self._reject(Item(event.type, (event.trigger,), ""), Rejection.UNGROUNDED)
            for label, place, piece in found:
                text = self._query.text[place.start : place.end]
                self._reject(Item(label, (text,), piece), Rejection.UNGROUNDED)
            return ()
        return (self._event(event.type, trigger, found),)

    def _event(self, kind: str, trigger: Place, found: Sequence[Placed]) -> Event:
        arguments = tuple(Argument(role=label, **self._span(place)) for label, place, _ in found)
        return Event(type=kind, trigger=Span(**self._span(trigger)), arguments=arguments)

    # relations

    def _add_relation(self, item: Item) -> None:
        if len(item.spans) == 2:
            head, tail = item.spans
            self._relate(item, head, tail)
            return
        (body,) = item.spans
        sides = self._sides(body)
        if sides and all(map(self._stands, sides)):
            self._relate(item, *sides)
            return
        groups = self._inner_items(item, body)
        if len(groups) == 1:
            parts = [part.strip() for part in _SEMICOLON.split(body)]
            groups = [Item(item.label, (part,), part) for part in parts if part]
        if len(groups) > 1:
            for group in groups:
                self._add_relation(group)
        elif sides:
            self._relate(item, *sides)
        elif not says_nothing(body):
            self._reject(item, Rejection.UNREADABLE)

    def _sides(self, body: str) -> tuple[str, str] | None:
        """Head and tail: the split at a comma of which both sides stand in the text, as exactly as possible."""
        if body[:1] + body[-1:] in ("()", "[]", "<>"):
            body = body[1:-1]
        best: tuple[int, tuple[str, str]] | None = None
        for comma in islice(_BETWEEN_SIDES.finditer(body), _MOST_SPLITS):
            sides = body[: comma.start()].strip(), body[comma.end() :].strip()
            if all(sides):
                places = [self._grounder.mentions(side).get(0) for side in sides]
                rank = sum(_RANK[place.grounding] for place in places if place) + 10 * all(places)
                if best is None or rank > best[0]:
                    best = rank, sides
        return best[1] if best else None

    def _relate(self, item: Item, head: str, tail: str) -> None:
        found = pairs(head, tail, self._grounder)
        if not found and not (says_nothing(head) or says_nothing(tail)):
            missing = [side for side in (head, tail) if self._grounder.places(side).get(0) is None]
            self._reject(Item(item.label, (head, tail), item.piece), self._reason(missing))
        for one, other in found:
            key = (item.label, one[:2], other[:2])
            if key not in self._relations:
                sides = {"head": Span(**self._span(one)), "tail": Span(**self._span(other))}
                self._relations[key] = Relation(type=item.label, **sides)
                return

    # what is no result

    @cached_property
    def _shown(self) -> Grounder:
        texts = [one_line(shown.example.text) for shown in self._demonstrations]
        return Grounder("\n".join(texts), answer_length=len(self._query.text), threshold=None)

    def _reason(self, missing: Sequence[str]) -> Rejection:
        leaked = self._demonstrations and all(self._shown.mentions(span).get(0) for span in missing)
        return Rejection.LEAKED if leaked else Rejection.UNGROUNDED

    def _reject(self, item: Item, reason: Rejection) -> None:
        self._rejected.append(Rejected(reason=reason, label=item.label, spans=item.spans, answer=item.piece))

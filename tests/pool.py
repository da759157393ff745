"""A small pool of all four tasks for tests."""

from typing import Any

from ruie_components import Example, Query

ROLES = ["place", "seller"]


def _span(text: str, span: str, **more: Any) -> dict[str, Any]:
    start = text.index(span)
    return {"text": span, "start": start, "end": start + len(span), **more}


def ner(text: str, **labels: str) -> Example:
    """``ner("Ada slept.", Ada="person")``."""
    entities = [_span(text, name, type=label) for name, label in labels.items()]
    return Example(task="NER", text=text, labels=["person", "place"], entities=entities)


def relation(text: str, head: str, tail: str) -> Example:
    found = {"type": "works for", "head": _span(text, head), "tail": _span(text, tail)}
    return Example(task="RE", text=text, labels=["works for", "born in"], relations=[found])


def detection(text: str, trigger: str, kind: str) -> Example:
    return Example(
        task="ED", text=text, labels=["sale", "attack"], events=[{"type": kind, "trigger": _span(text, trigger)}]
    )


def arguments(text: str, trigger: str, **roles: str) -> Example:
    """``arguments("Ada sold it in Rome.", "sold", place="Rome")``."""
    found = [_span(text, span, role=role) for role, span in roles.items()]
    event = {"type": "sale", "trigger": _span(text, trigger), "arguments": found}
    return Example(task="EAE", text=text, labels=ROLES, events=[event])


EXAMPLES = [
    ner("Ada slept in Rome.", Ada="person", Rome="place"),
    ner("Bob met Ada in Oslo.", Bob="person", Ada="person", Oslo="place"),
    ner("Cy met Bob.", Cy="person", Bob="person"),
    ner("nothing at all"),
    ner('{"a": {b}} and Cy met none', Cy="person"),
    relation("Ada works for Acme.", "Ada", "Acme"),
    relation("Bob slept, as he works for Bolt.", "Bob", "Bolt"),
    detection("Acme sold a boat in Oslo.", "sold", "sale"),
    detection("Rebels attacked Rome.", "attacked", "attack"),
    arguments("Acme sold a boat in Oslo.", "sold", seller="Acme", place="Oslo"),
    arguments("In Rome Bolt sold Ada a hat.", "sold", seller="Bolt", place="Rome"),
]

QUERIES = {
    "NER": Query(task="NER", text="In Oslo Ada met Dan.", labels=["person", "place"]),
    "RE": Query(task="RE", text="Cy says Ada works for Bolt.", labels=["works for", "born in"]),
    "ED": Query(task="ED", text="Sold: one boat. Then they attacked.", labels=["sale", "attack"]),
    "EAE": Query(
        task="EAE", text="Cy said Acme sold it in Rome.", labels=ROLES, event={"type": "sale", "trigger": "sold"}
    ),
}
ANSWERS = {
    "NER": "place: Oslo; person: Ada; person: Dan",
    "RE": "works for: Ada, Bolt",
    "ED": "sale: Sold; attack: attacked",
    "EAE": "seller: Acme; place: Rome",
}
"""What the copying baseline answers to the queries."""


def found(extraction: Any) -> list[tuple[Any, ...]]:
    """What was extracted: labels with their spans."""
    return [(label, *(span.text for span in spans)) for label, spans in extraction.annotations]

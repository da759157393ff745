"""Writes a graph of relations as GraphML, for Gephi, Cytoscape, yEd and networkx."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from ruie_components.files import atomic_path
from ruie_components.types import Example, Task

_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KEYS = (
    ("label", "node", "string"),
    ("types", "node", "string"),
    ("mentions", "node", "int"),
    ("type", "edge", "string"),
    ("count", "edge", "int"),
    ("texts", "edge", "string"),
)
_MOST_TEXTS = 20  # ids of texts per edge


def write_graphml(path: str | Path, examples: Iterable[Example]) -> tuple[int, int]:
    """Write a directed graph: a node per span text, and an edge for each relation type between two nodes.

    Arguments of events (EAE) are edges from the trigger, named by their roles. A node has its ``types``, from entities
    (NER) of the same text, and the number of its ``mentions``; an edge has its ``type``, its ``count``, and the ids of
    up to twenty ``texts``. Spans that differ only in case and white space share a node.

    Args:
        path: The ``.graphml`` file.
        examples: Of any tasks, mixed.

    Returns:
        The numbers of nodes and edges.
    """
    names: dict[str, Counter[str]] = {}
    types: dict[str, dict[str, None]] = {}
    edges: dict[tuple[str, str, str], list[str]] = {}

    def node(text: str) -> str:
        key = " ".join(text.casefold().split())
        names.setdefault(key, Counter())[" ".join(text.split())] += 1
        return key

    for number, example in enumerate(examples, start=1):
        own = str(number if example.id is None else example.id)
        for entity in example.entities:
            types.setdefault(" ".join(entity.text.casefold().split()), {})[entity.type] = None
        links = [(node(each.head.text), each.type, node(each.tail.text)) for each in example.relations]
        if example.task is Task.EAE:
            links += [
                (node(event.trigger.text), argument.role, node(argument.text))
                for event in example.events
                for argument in event.arguments
            ]
        for link in links:
            edges.setdefault(link, []).append(own)
    _write(Path(path), names, types, edges)
    return len(names), len(edges)


def _write(
    path: Path,
    names: dict[str, Counter[str]],
    types: dict[str, dict[str, None]],
    edges: dict[tuple[str, str, str], list[str]],
) -> None:
    root = ET.Element("graphml", xmlns=_NAMESPACE)
    for name, owner, kind in _KEYS:
        ET.SubElement(root, "key", {"id": name, "for": owner, "attr.name": name, "attr.type": kind})
    graph = ET.SubElement(root, "graph", edgedefault="directed")
    ids = {key: f"n{index}" for index, key in enumerate(names)}
    for key, counts in names.items():
        element = ET.SubElement(graph, "node", id=ids[key])
        shown = counts.most_common(1)[0][0]
        _add(element, label=shown, types=", ".join(types.get(key, ())), mentions=counts.total())
    for (head, kind, tail), texts in edges.items():
        element = ET.SubElement(graph, "edge", source=ids[head], target=ids[tail])
        _add(element, type=kind, count=len(texts), texts=", ".join(dict.fromkeys(texts[:_MOST_TEXTS])))
    ET.indent(root)
    with atomic_path(path) as part:
        ET.ElementTree(root).write(part, encoding="utf-8", xml_declaration=True)


def _add(element: ET.Element, **values: object) -> None:
    for name, value in values.items():
        ET.SubElement(element, "data", key=name).text = _NO_XML.sub("\ufffd", str(value))

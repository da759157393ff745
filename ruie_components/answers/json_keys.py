"""The names that models give to the keys of an item, by what the key holds."""

from __future__ import annotations

from functools import lru_cache

# Names of keys as `key_name` writes them: lower case, no underscores, without the prefix "extraction".
LABEL_NAMES = (
    *("type", "label", "role", "relation", "entitytype", "eventtype", "relationtype", "relationship"),
    *("predicate", "category", "class", "entitygroup", "entitylabel", "argumentrole", "tag", "kind", "rel", "verb"),
    *("property", "argumenttype", "labelname", "typename"),
)
LABEL_RANKS = {name: rank for rank, name in enumerate(LABEL_NAMES)}
SPAN_NAMES = (
    *("text", "span", "trigger", "entity", "name", "value", "mention", "argument", "word", "phrase", "content"),
    *("surface", "surfaceform", "entitytext", "entityname", "entitymention", "triggerword", "triggertext", "token"),
    *("argumenttext", "string", "quote", "match", "answer", "filler", "spantext", "mentiontext"),
)
HEAD_NAMES = (
    *("head", "subject", "source", "from", "arg1", "entity1", "e1", "subj", "headentity", "sourceentity", "first"),
    *("subjectentity", "headtext", "subjecttext", "start", "agent", "left", "argument1", "domain"),
)
TAIL_NAMES = (
    *("tail", "object", "target", "to", "arg2", "entity2", "e2", "obj", "tailentity", "targetentity", "second"),
    *("objectentity", "tailtext", "objecttext", "end", "patient", "right", "argument2", "range"),
)
PAIR_NAMES = ("arguments", "args", "entities", "spans", "mentions", "pair", "sides")
START_NAMES = ("start", "begin", "startpos", "startchar", "charstart", "startoffset", "startindex", "from", "offset")
END_NAMES = ("end", "endpos", "endchar", "charend", "endoffset", "endindex", "to", "stop")
OFFSET_NAMES = (
    "charinterval",
    "offsets",
    "position",
    "positions",
    "charspan",
    "indices",
    "interval",
    "location",
    "span",
    "spans",
    "loc",
    "charoffsets",
    "offsetmapping",
)
PROSE_NAMES = (
    *("reasoning", "reason", "explanation", "thinking", "thought", "thoughts", "analysis", "note", "notes", "comment"),
    *("comments", "confidence", "score", "rationale", "justification", "summary", "language", "evidence", "message"),
    *("status", "count", "total", "instruction", "description", "version", "model", "context", "sentence"),
)
ECHO_NAMES = ("task", "text", "input", "schema", "labels", "id", "dataset", "language", "document", "candidates")
ANY_START = frozenset((*START_NAMES, *OFFSET_NAMES))
WRAPPERS = (
    *("entit", "relation", "event", "argument", "result", "extract", "output", "answer", "data", "item", "triple"),
    *("response", "trigger", "mention", "label", "annotation", "propert", "parameter", "args", "role", "type", "list"),
)
CALL_BODIES = ("arguments", "args", "parameters", "input", "function")
CALL_NAMES = ("name", "id", "type", "index")


@lru_cache(maxsize=4096)
def key_name(key: str) -> str:
    """A key in lower case, letters and digits alone, without the prefix "extraction"."""
    name = "".join(character for character in key.casefold() if character.isalnum())
    return name.removeprefix("extraction") or name


@lru_cache(maxsize=4096)
def is_wrapper(name: str) -> bool:
    """Whether a key may hold items, such as ``entities`` or ``results``."""
    return any(wrapper in name for wrapper in WRAPPERS)

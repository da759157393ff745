"""Tells a prompt of which a server read only a part: some cut what is longer than their context, without an error."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ruie_components.prompts import MESSAGE_OVERHEAD, estimate_tokens

# characters, on average over a whole prompt: tokenizers of chat models stay below 5, and no warning should be false
_LONG_TOKEN = 6
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)  # one token may be a long run of one character
_USUAL = 0.7  # of the estimated tokens, which are rather too many than too few


class PromptCutWarning(UserWarning):
    """The server read only part of the prompt."""


def prompt_size(contents: Sequence[str]) -> int:
    """The estimated tokens of a prompt with these messages."""
    return sum(estimate_tokens(content) + MESSAGE_OVERHEAD for content in contents)


def is_cut(read: int | None, contents: Sequence[str], context: int | None = None) -> bool:
    """Whether a server counted fewer tokens than a prompt has.

    Every word takes at least one token, and a token has few characters on average. A prompt that is not known to fit
    the context is also cut if it has fewer tokens than usual.

    Args:
        read: The tokens of the prompt by the server's count; ``None`` or 0 if it counts none.
        contents: The prompt's messages.
        context: The size of the server's context in tokens, if it is known.

    >>> is_cut(4096, ["Ada met Bob. " * 2000]), is_cut(8001, ["Ada met Bob. " * 2000])
    (True, False)
    """
    if not read:
        return False
    size = prompt_size(contents)
    if context is not None and size > context:
        return read < _USUAL * size
    words = sum(len(content.split()) for content in contents)
    characters = sum(len(_RUN.sub(r"\1", content)) for content in contents)
    return read < max(words, characters // _LONG_TOKEN)


def describe_cut(name: str, read: int, contents: Sequence[str], where: str = "probably at the front") -> str:
    """What a warning says of a cut prompt, without what to do about it."""
    return (
        f"{name} read {read:,} tokens of a prompt of about {prompt_size(contents):,}: it was truncated, {where}, where "
        "the instruction and the demonstrations are."
    )

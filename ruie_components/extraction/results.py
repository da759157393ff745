"""What comes back for a query: the extraction, what the model was shown, and what it took."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

from ruie_components.prompts import Prompt
from ruie_components.types import Demonstration, Extraction, Query


class AnswerTruncatedWarning(UserWarning):
    """The model was stopped at its token limit before it had finished its answer."""


@dataclass(frozen=True)
class Usage:
    """What one extraction took.

    Attributes:
        input_tokens: Tokens of the prompt as the model counted them; ``None`` where it doesn't say.
        output_tokens: Tokens of the answer as the model counted them; ``None`` where it doesn't say.
        demonstrations: How many demonstrations the prompt shows.
        dropped: How many were found, but did not fit the token budget.
        seconds: From the ready prompt to the read answer, retries and waits included.
        truncated: Whether the model was stopped at its token limit. The extraction then has the finished items only.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    demonstrations: int = 0
    dropped: int = 0
    seconds: float = 0.0
    truncated: bool = False


@dataclass(frozen=True)
class ExtractionResult:
    """The result of one query.

    Attributes:
        extraction: The spans found in the text, and what of the answer was left out and why. Empty where ``error``
            is set.
        prompt: What the model was sent; ``None`` where no prompt could be written.
        usage: Tokens, demonstrations, seconds.
        error: Why there is no answer, for a person to read. Only ``extract_many`` returns results with an error;
            ``extract`` raises it.
    """

    extraction: Extraction
    prompt: Prompt | None
    usage: Usage
    error: str | None = None

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The demonstrations that the model was shown, best first (in the prompt the best stands last)."""
        return tuple(reversed(self.prompt.demonstrations)) if self.prompt else ()

    def to_row(self) -> dict[str, Any]:
        """A JSON object: the extraction, the ids and scores of the demonstrations, the usage, and the error if any."""
        row: dict[str, Any] = {
            "extraction": self.extraction.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "demonstrations": [(shown.example.content_id, shown.score) for shown in self.demonstrations],
            "usage": asdict(self.usage),
        }
        return row if self.error is None else {**row, "error": self.error}


def failed(query: Query, prompt: Prompt | None, error: Exception, seconds: float = 0.0) -> ExtractionResult:
    """The result of a query that got no answer: no spans, and the error in words."""
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

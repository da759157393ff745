"""The section ``[preferences]`` of a recipe, with one table for each kind of scorer."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ruie_components.keywords import KeywordStrategy
from ruie_training.data.settings import Positive, Section


class LocalModel(Section):
    """Scores pairs by a transformers model on this machine."""

    operational: ClassVar[frozenset[str]] = frozenset({"batch_tokens", "parameters"})

    kind: Literal["local"]
    """Always ``local``."""
    model: str
    """A folder, a GGUF file, a hub name, or ``scratch``."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Of the weights."""
    batch_tokens: Positive = 8192
    """Tokens in the model at a time, padding included; memory grows with it."""
    parameters: float | None = None
    """In billions, for the time estimate only."""


class ServedModel(Section):
    """Scores pairs by a server with OpenAI-style completions that return prompt log-probabilities."""

    operational: ClassVar[frozenset[str]] = frozenset({"urls", "concurrency", "retries", "timeout", "key_variable"})

    kind: Literal["served"]
    """Always ``served``."""
    model: str
    """The model's name on the server."""
    urls: tuple[str, ...] = Field(min_length=1)
    """Base URLs of one or more servers; pairs are distributed over them."""
    concurrency: Positive = 16
    """Requests in flight."""
    retries: int = Field(6, ge=0)
    """Retries of a request that failed in transport."""
    timeout: float = Field(120.0, gt=0)
    """Seconds that a request may take."""
    key_variable: str | None = None
    """The environment variable that holds the server's API key. A recipe never holds the key itself."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer. With it, prompts are sent as tokens."""
    protocol: Literal["echo", "prompt_logprobs"] = "echo"
    """How the server returns log-probabilities of the prompt: OpenAI's ``echo``, or vLLM's ``prompt_logprobs``."""


class Outcome(Section):
    """Scores pairs by the F1 of the answer that a chat model gives with that one demonstration."""

    operational: ClassVar[frozenset[str]] = frozenset({"url", "concurrency"})

    kind: Literal["outcome"]
    """Always ``outcome``."""
    model: str
    """A chat model's name: ``ollama:llama3.1:8b``, ``openai:MODEL``, ``gguf:PATH``, or a server's URL."""
    url: str | None = None
    """Address of the server, where it is not the provider's usual one."""
    concurrency: Positive = 4
    """Requests in flight."""


class NoModel(Section):
    """Scores pairs without an LLM."""

    kind: Literal["label-overlap", "bm25"]
    """``label-overlap``: the F1 of both label multisets. ``bm25``: the score that mining gave."""


Scorer = Annotated[LocalModel | ServedModel | Outcome | NoModel, Field(discriminator="kind")]


class Preferences(Section):
    """The LLM's preference for each pair of candidate and query."""

    scorer: Scorer
    """The table ``[preferences.scorer]``; its ``kind`` determines its other keys."""
    per_query: Positive = 32
    """Candidates of each query that are scored."""
    choose: Literal["random", "top", "spread"] = "random"
    """Which candidates are scored: drawn at random (paper), the best, or at even distances from best to worst."""
    keywords: KeywordStrategy = KeywordStrategy.NONE
    """Whether the LLM sees keyword tags. The reference code shows them, which gives the answer away."""

    @model_validator(mode="after")
    def _tags_are_seen(self) -> Preferences:
        if self.keywords is not KeywordStrategy.NONE and not isinstance(self.scorer, LocalModel | ServedModel):
            raise ValueError(
                f'keywords = "{self.keywords}" is for the prompts of kind = "local" or "served"; '
                f'kind = "{self.scorer.kind}" shows no tags'
            )
        return self

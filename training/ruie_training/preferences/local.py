"""Preference by a transformers model on this machine: the answer's average log-likelihood, with shared prefixes.

Pairs of one demonstration share their first tokens: instruction, demonstration, and task and schema of the query's
block. These are processed once; their keys and values serve all queries of the demonstration. The prefix of all
demonstrations of a set (the instruction) is processed once per set.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ruie_components.keywords import KeywordStrategy
from ruie_training.errors import TrainingError
from ruie_training.preferences.passes import Passes, Past
from ruie_training.preferences.scorer import Advance, Pair, Shown, alone, ignore_progress, prompt_and_answer
from ruie_training.preferences.tokens import AnswerSplitter

Precision = Literal["float32", "bf16", "fp16"]

_MIN_SHARED = 8  # tokens; a separate pass for a shorter prefix does not pay off
_PASS_ON_CPU, _PASS_ON_GPU = 64, 4096  # tokens of padding that cost as much as a pass of their own


@dataclass(frozen=True)
class _Text:
    """The tokens of a prompt and its answer, and the index of its score."""

    i: int
    tokens: list[int]
    answer: int  # the number of answer tokens, at the end

    @property
    def shareable(self) -> int:
        """The number of shareable first tokens: the prompt without its last token, which predicts the answer."""
        return len(self.tokens) - self.answer - 1


class LocalScorer:
    """The average log-likelihood of the answer's tokens given instruction, demonstration and query.

    Prompt and answer are tokenized once, together; a token that reaches into the answer belongs to it.

    Args:
        model: A causal language model of transformers, on any device.
        tokenizer: Its fast tokenizer; a padding token is not needed.
        batch_tokens: The maximum number of tokens in the model at a time, padding and prefixes included. It affects
            memory, not the scores.
        keywords: How annotated spans are tagged in the prompt. See ``prompt_and_answer``.
        max_tokens: The longest prompt with answer; None: the model's ``max_position_embeddings``.
        too_long: Handling of longer ones: ``drop`` scores them NaN, which ``prefer`` leaves out and counts.
        share: Compute common prefixes once. Turn it off for models without a plain key-value cache.

    Raises:
        TypeError: The tokenizer is not a fast one.
    """

    kind = "likelihood"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_tokens: int = 8192,
        keywords: KeywordStrategy | str = KeywordStrategy.NONE,
        max_tokens: int | None = None,
        too_long: Literal["drop", "error"] = "drop",
        share: bool = True,
    ) -> None:
        self.model = model.eval()
        self.batch_tokens = batch_tokens
        self.keywords = KeywordStrategy(keywords)
        self.max_tokens: int = max_tokens or getattr(model.config, "max_position_embeddings", None) or 10**9
        self.too_long = too_long
        self.share = share
        self._splitter = AnswerSplitter(tokenizer)

    @classmethod
    def load(
        cls, source: str | Path, *, precision: Precision = "float32", device: str | None = None, **options: Any
    ) -> LocalScorer:
        """Load a scorer with a model from a folder or the hub.

        Args:
            source: A folder, a GGUF file (needs the package ``gguf``), or a hub name.
            precision: The precision of the weights.
            device: The device. None: a GPU if available.
            options: Keyword arguments of ``LocalScorer``.

        Raises:
            TrainingError: There is no such model.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        types = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        name, where = _locate(source)
        try:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=types[precision], **where)
            tokenizer = AutoTokenizer.from_pretrained(name, **where)
        except (OSError, ValueError) as error:
            raise TrainingError(f"no language model can be loaded from {source}: {error}") from error
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model, tokenizer, **options)

    def score(self, pairs: Sequence[Pair], advance: Advance = ignore_progress) -> list[float]:
        """The average log-likelihood of each pair's answer, in nats per token.

        Raises:
            TrainingError: The model returned NaN or infinity, or with ``too_long="error"`` a pair does not fit.
        """
        return self.likelihoods(alone(pairs), advance)

    def likelihoods(self, shown: Sequence[Shown], advance: Advance = ignore_progress) -> list[float]:
        """The average log-likelihood of each query's answer after its demonstrations, in nats per token.

        Raises:
            TrainingError: As ``score``.
        """
        scores = [math.nan] * len(shown)
        texts = self._fitting(self._tokenize(shown), shown)
        advance(len(shown) - len(texts))
        longest = max((len(text.tokens) for text in texts), default=0)
        # Padding between a prefix and what follows would count towards an attention window and make it too short.
        passes = Passes(self.model, share=self.share, pad=2 * longest <= _window(self.model.config))
        families: defaultdict[Any, list[_Text]] = defaultdict(list)
        for text in texts:
            query = shown[text.i][1]
            families[query.task, query.dataset].append(text)
        with torch.inference_mode():
            for family in families.values():
                for i, score in self._score_family(passes, family, shown):
                    scores[i] = score
                    advance(1)
        lost = sum(math.isnan(scores[text.i]) for text in texts)
        if lost:
            raise TrainingError(
                f"the model returned NaN or infinity for {lost} of {len(texts)} prompts: use float32 or bf16, check "
                "its weights"
            )
        return scores

    def _tokenize(self, shown: Sequence[Shown]) -> list[_Text]:
        written = [prompt_and_answer(one, self.keywords) for one in shown]
        split = self._splitter.split(written)
        return [_Text(i, tokens, answer) for i, (tokens, answer) in enumerate(split)]

    def _fitting(self, texts: list[_Text], shown: Sequence[Shown]) -> list[_Text]:
        fitting = [text for text in texts if len(text.tokens) <= self.max_tokens]
        if len(fitting) < len(texts) and self.too_long == "error":
            longest = max(texts, key=lambda text: len(text.tokens))
            raise TrainingError(
                f"{len(texts) - len(fitting)} of {len(texts)} prompts with their answers are longer than the "
                f"{self.max_tokens:,} tokens of the model's context; the longest has {len(longest.tokens):,}, "
                f"{longest.answer:,} of them its answer (query {shown[longest.i][1].content_id}). Leave them out "
                'with too_long="drop", or use a model with a longer context'
            )
        return fitting

    def _score_family(self, passes: Passes, texts: list[_Text], shown: Sequence[Shown]) -> Iterator[tuple[int, float]]:
        """Scores of prompts that share at least the instruction."""
        root = _common_prefix(texts) if passes.share else 0
        past = passes.extend(None, [0], [texts[0].tokens[:root]])[0] if root >= _MIN_SHARED else None
        root = root if past else 0
        groups: defaultdict[tuple[str, ...], list[_Text]] = defaultdict(list)
        for text in texts:
            groups[tuple(example.content_id for example in shown[text.i][0])].append(text)
        single: list[tuple[int, _Text]] = []  # parent row and text
        shared: list[tuple[int, list[_Text]]] = []  # length of the common prefix, and whose it is
        for group in groups.values():
            prefix = _common_prefix(group) if passes.share and len(group) > 1 else 0
            if prefix - root >= _MIN_SHARED:
                shared.append((prefix, group))
            else:
                single += [(0, text) for text in group]
        yield from self._score_rows(passes, past, single, [root])
        shared.sort(key=lambda each: each[0])
        for block in self._blocks([prefix for prefix, _ in shared], equal=not passes.pad):
            part = shared[block]
            lengths = [prefix for prefix, _ in part]
            beginnings = [group[0].tokens[root:prefix] for prefix, group in part]
            rows = [(row, text) for row, (_, group) in enumerate(part) for text in group]
            yield from self._score_rows(passes, passes.extend(past, [0] * len(part), beginnings)[0], rows, lengths)

    def _score_rows(
        self, passes: Passes, past: Past | None, rows: list[tuple[int, _Text]], prefixes: list[int]
    ) -> Iterator[tuple[int, float]]:
        """Scores of texts that continue rows of ``past``."""
        rows = sorted(rows, key=lambda each: len(each[1].tokens) - prefixes[each[0]])
        width = past.mask.shape[1] if past else 0
        for block in self._blocks([width + len(text.tokens) - prefixes[row] for row, text in rows]):
            part = rows[block]
            rest = [text.tokens[prefixes[row] :] for row, text in part]
            answers = [text.answer for _, text in part]
            logits = passes.extend(past, [row for row, _ in part], rest, answers)[1]
            targets = torch.tensor([token for (_, text) in part for token in text.tokens[-text.answer :]])
            losses = torch.nn.functional.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")
            starts = np.cumsum([0, *answers[:-1]])
            sums = np.add.reduceat(-losses.double().cpu().numpy(), starts)  # (rows,)
            yield from zip((text.i for _, text in part), (sums / answers).tolist(), strict=True)

    def _blocks(self, lengths: Sequence[int], *, equal: bool = False) -> Iterator[slice]:
        """Slices of increasing lengths with at most ``batch_tokens`` when padded, and at least one text.

        A slice ends where its padding would cost more than a pass. ``equal`` slices hold texts of one length.
        """
        allowed = 0 if equal else _PASS_ON_CPU if self.model.device.type == "cpu" else _PASS_ON_GPU
        start = padding = 0
        for end, length in enumerate(lengths):
            padding += (end - start) * (length - lengths[end - 1]) if end > start else 0
            if end > start and ((end - start + 1) * length > self.batch_tokens or padding > allowed):
                yield slice(start, end)
                start, padding = end, 0
        if start < len(lengths):
            yield slice(start, len(lengths))


def _common_prefix(texts: Sequence[_Text]) -> int:
    """The length of the common prefix, which excludes each text's last token before its answer."""
    first, last = min(text.tokens for text in texts), max(text.tokens for text in texts)
    common = next(
        (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
        min(len(first), len(last)),
    )
    return min(common, *(text.shareable for text in texts))


def _window(config: Any) -> float:
    """The smallest attention window in the model's configuration."""
    names = ("sliding_window", "attention_chunk_size")
    return min((size for name in names if (size := getattr(config, name, None))), default=math.inf)


def check_model(source: str | Path) -> None:
    """Check that a language model can be loaded, by its configuration only.

    Raises:
        TrainingError: There is no such model, or it is a GGUF file and the package ``gguf`` is not installed.
    """
    from transformers import AutoConfig

    name, where = _locate(source)
    try:
        AutoConfig.from_pretrained(name, **where)
    except (OSError, ValueError) as error:
        raise TrainingError(f"no language model can be loaded from {source}: {error}") from error


def _locate(source: str | Path) -> tuple[str, dict[str, str]]:
    """A model's name and keyword arguments for transformers, which takes a GGUF file as folder and name."""
    path = Path(source)
    if path.suffix != ".gguf":
        return str(source), {}
    if find_spec("gguf") is None:
        raise TrainingError(f"reading {source} needs the package gguf: pip install gguf")
    if not path.is_file():
        raise TrainingError(f"no language model can be loaded from {source}: there is no such file")
    return str(path.parent), {"gguf_file": path.name}

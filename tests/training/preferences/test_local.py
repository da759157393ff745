"""The packed scorer that shares prefixes equals the definition, whatever the batches, the order and the model."""

import math
import random

import pytest

torch = pytest.importorskip("torch")

from ruie_training.errors import TrainingError  # noqa: E402 -- after importorskip
from ruie_training.preferences import alone, prompt_and_answer  # noqa: E402 -- after importorskip
from ruie_training.preferences.local import LocalScorer  # noqa: E402 -- after importorskip
from ruie_training.preferences.passes import Passes  # noqa: E402 -- after importorskip
from transformers import (  # noqa: E402 -- after importorskip
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from ruie_components import prompts  # noqa: E402 -- after importorskip
from ruie_components.types import Demonstration  # noqa: E402 -- after importorskip

EXACT = 1e-4


def assert_close(scores, wanted):
    assert len(scores) == len(wanted)
    assert max(abs(one - other) for one, other in zip(scores, wanted, strict=True)) < EXACT


@pytest.mark.parametrize(("batch_tokens", "share"), [(1, True), (100, True), (700, True), (8192, True), (700, False)])
def test_every_batch_size_gives_the_definition(model, tokenizer, pairs, plain, batch_tokens, share):
    assert_close(LocalScorer(model, tokenizer, batch_tokens=batch_tokens, share=share).score(pairs), plain)


@pytest.mark.parametrize(("batch_tokens", "share"), [(1, True), (8192, True), (8192, False)])
def test_several_demonstrations_or_none_give_the_definition(model, tokenizer, shots, batch_tokens, share):
    shown, wanted = shots
    assert_close(LocalScorer(model, tokenizer, batch_tokens=batch_tokens, share=share).likelihoods(shown), wanted)


@pytest.mark.parametrize("seed", range(3))
def test_every_order_gives_the_definition(model, tokenizer, pairs, plain, seed):
    order = random.Random(seed).sample(range(len(pairs)), len(pairs))
    scores = LocalScorer(model, tokenizer, batch_tokens=900).score([pairs[place] for place in order])
    assert_close(scores, [plain[place] for place in order])


def test_a_pair_alone_and_none_at_all(model, tokenizer, pairs, plain):
    scorer = LocalScorer(model, tokenizer)
    assert_close(scorer.score(pairs[:1]), plain[:1])
    assert scorer.score([]) == []


def test_the_scores_tell_pairs_apart(plain):
    assert max(plain) - min(plain) > 100 * EXACT


@pytest.fixture
def read(monkeypatch):
    """The number of tokens of each pass."""
    counts = []
    extend = Passes.extend

    def counted(self, past, parents, tokens, answers=None):
        counts.append(sum(map(len, tokens)))
        return extend(self, past, parents, tokens, answers)

    monkeypatch.setattr(Passes, "extend", counted)
    return counts


def test_a_demonstration_goes_through_the_model_once(model, tokenizer, tiny, read):
    rows = tiny.rows(12)
    LocalScorer(model, tokenizer).score([(demonstration, query) for demonstration in rows[:2] for query in rows[2:]])
    shared = sum(read)
    read.clear()
    LocalScorer(model, tokenizer, share=False).score(
        [(demonstration, query) for demonstration in rows[:2] for query in rows[2:]]
    )
    assert shared < 0.4 * sum(read)


@pytest.mark.parametrize("window", [None, 48, 4096])
def test_other_models(tiny, pairs, window):
    """Learned positions and no first token; a sliding window that prompts outgrow, and one that they don't."""
    torch.manual_seed(1)
    tokenizer = tiny.tokenizer(begin=None)
    if window is None:
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=512, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3
        )
        other = GPT2LMHeadModel(config).eval()
    else:
        other = MistralForCausalLM(
            MistralConfig(vocab_size=len(tokenizer), sliding_window=window, attn_implementation="eager", **tiny.size)
        ).eval()
    wanted = [tiny.plain_score(other, tokenizer, *pair) for pair in pairs[:40]]
    assert_close(LocalScorer(other, tokenizer, batch_tokens=1500).score(pairs[:40]), wanted)


def test_prefixes_are_shared_where_some_layers_have_a_short_window(tiny, read):
    """Layers with a window, which prompts outgrow, beside layers without, as in Gemma."""
    torch.manual_seed(1)
    tokenizer = tiny.tokenizer(begin=None)
    layers = ["sliding_attention", "full_attention"]
    size = {**tiny.size, "num_hidden_layers": 2, "head_dim": 16, "initializer_range": 0.3}
    gemma = Gemma3ForCausalLM(
        Gemma3TextConfig(vocab_size=len(tokenizer), sliding_window=48, layer_types=layers, **size)
    ).eval()
    rows = tiny.rows(12)
    pairs = [(demonstration, query) for demonstration in rows[:3] for query in rows[3:]]
    scores = LocalScorer(gemma, tokenizer).score(pairs)
    sizes = [len(tokenizer("".join(prompt_and_answer(shown)))["input_ids"]) for shown in alone(pairs)]
    assert min(sizes) > 48
    assert sum(read) < 0.4 * sum(sizes)
    assert_close(scores, [tiny.plain_score(gemma, tokenizer, *pair) for pair in pairs])


def test_keyword_tags_are_shown_on_request_only(model, tokenizer, pairs):
    pair = next(pair for pair in pairs if pair[0].spans and pair[1].spans)
    prompt, answer = prompt_and_answer(([pair[0]], pair[1]))
    assert prompt == prompts.build_prompt(pair[1].query, [Demonstration(example=pair[0], score=1)]).text
    assert answer == f" {prompts.render_answer(pair[1])}"
    (plain,) = LocalScorer(model, tokenizer).score([pair])
    (tagged,) = LocalScorer(model, tokenizer, keywords="plain").score([pair])
    assert abs(plain - tagged) > EXACT


def test_what_is_longer_than_the_context(model, tokenizer, pairs, plain):
    sizes = [len(tokenizer("".join(prompt_and_answer(shown)))["input_ids"]) for shown in alone(pairs)]
    limit = sorted(sizes)[len(sizes) // 2]
    scores = LocalScorer(model, tokenizer, max_tokens=limit).score(pairs)
    assert [math.isnan(score) for score in scores] == [size > limit for size in sizes]
    assert_close(
        [score for score in scores if not math.isnan(score)],
        [score for score, size in zip(plain, sizes, strict=True) if size <= limit],
    )
    too_long = sum(size > limit for size in sizes)
    with pytest.raises(TrainingError, match=rf"{too_long} of {len(pairs)} prompts .* longer than the {limit} tokens"):
        LocalScorer(model, tokenizer, max_tokens=limit, too_long="error").score(pairs)


def test_the_context_is_the_models_own(tokenizer, pairs, tiny):
    short = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **{**tiny.size, "max_position_embeddings": 20}))
    assert all(map(math.isnan, LocalScorer(short, tokenizer).score(pairs[:5])))


def test_a_model_of_nan_is_an_error(tokenizer, pairs, tiny):
    broken = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **tiny.size))
    torch.nn.init.constant_(broken.lm_head.weight, math.nan)
    with pytest.raises(TrainingError, match="NaN or infinity for 5 of 5 prompts"):
        LocalScorer(broken, tokenizer).score(pairs[:5])


def test_a_slow_tokenizer_is_refused(model):
    with pytest.raises(TypeError, match="use_fast=True"):
        LocalScorer(model, object())


def test_progress_counts_every_pair_as_it_is_scored(model, tokenizer, pairs):
    sizes = [len(tokenizer("".join(prompt_and_answer(shown)))["input_ids"]) for shown in alone(pairs)]
    steps = []
    LocalScorer(model, tokenizer, max_tokens=max(sizes) - 1).score(pairs, steps.append)
    assert sum(steps) == len(pairs)
    assert len(steps) > len(pairs) / 2


def test_same_pairs_same_scores(model, tokenizer, pairs):
    assert LocalScorer(model, tokenizer).score(pairs) == LocalScorer(model, tokenizer).score(pairs)

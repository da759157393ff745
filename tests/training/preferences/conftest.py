"""A tiny causal language model, rows to score, and the plain definition of a preference score."""

import random

import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402 -- importorskip
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402 -- importorskip

from ruie_components import Example, prompts  # noqa: E402 -- importorskip
from ruie_components.types import Demonstration  # noqa: E402 -- importorskip

NAMES = ["Ada", "Bob", "Zoë", "北京", "Ólafur", "Eve-Lyn", "🦜"]
VERBS = ["met", "saw", "left", "called in", "wrote to"]
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,  # far from uniform, so that a wrong context shows in the scores
}


def make_row(draw, *, task="NER", dataset="toy"):
    """A row about some people, all of them annotated; one in seven has nobody."""
    people = draw.sample(NAMES, draw.choice([0, 1, 1, 2, 2, 3, 3]))
    pieces, spans, end = [], [], 0
    for name in people:
        verb = draw.choice(VERBS)
        spans.append({"text": name, "start": end, "end": end + len(name)})
        pieces.append(f"{name} {verb} ")
        end += len(pieces[-1])
    text = "".join(
        [*pieces, *draw.choices(["rain", "fell", "all", "night", "over", "Lac Léman"], k=draw.randint(1, 9))]
    )
    if task == "ED":
        events = [{"type": draw.choice(["meeting", "leaving"]), "trigger": span} for span in spans]
        return Example(task=task, text=text, labels=["meeting", "leaving"], events=events, dataset=dataset)
    entities = [{**span, "type": draw.choice(["person", "city"])} for span in spans]
    return Example(task=task, text=text, labels=["person", "city"], entities=entities, dataset=dataset)


def make_rows(count, seed=0, **options):
    draw = random.Random(seed)
    rows = [make_row(draw, **options) for _ in range(count)]
    return list({row.content_id: row for row in rows}.values())


def make_tokenizer(begin="<s>"):
    """A byte-level BPE tokenizer; with ``begin`` it sets that token first, and it never has a padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        special_tokens=[begin] if begin else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    blocks = [prompts.render_demonstration(row).replace("🦜", "").replace("北京", "") for row in make_rows(60)]
    tokenizer.train_from_iterator(blocks, trainer)
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=begin)


def plain_score(model, tokenizer, *examples):
    """The definition: one prompt at a time, all logits, the mean over the answer's tokens; the query comes last."""
    *demonstrations, query = examples
    prompt = prompts.build_prompt(query.query, [Demonstration(example=row, score=1) for row in demonstrations]).text
    whole = tokenizer(f"{prompt} {prompts.render_answer(query)}")["input_ids"]
    before = len(tokenizer(prompt)["input_ids"])
    with torch.inference_mode():
        likelihoods = model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
    answer = range(before, len(whole))
    return sum(likelihoods[place - 1, whole[place]].item() for place in answer) / len(answer)


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZE)).eval()


@pytest.fixture(scope="session")
def pairs():
    """120 pairs over two tasks and three sets: demonstrations with many queries, with few, and with one."""
    draw = random.Random(3)
    found = []
    for options in ({}, {"dataset": "other"}, {"task": "ED"}):
        rows = make_rows(16, seed=len(found), **options)
        for query in rows[:10]:
            found += [(demonstration, query) for demonstration in draw.sample(rows[:6] * 2 + rows[6:], 4)]
    draw.shuffle(found)
    return found


@pytest.fixture(scope="session")
def plain(model, tokenizer, pairs):
    """The score of every pair by its definition."""
    return [plain_score(model, tokenizer, *pair) for pair in pairs]


@pytest.fixture(scope="session")
def shots(model, tokenizer):
    """Queries with none to three demonstrations, some with the same ones, and their likelihoods by the definition."""
    rows = make_rows(14, seed=5)
    shown = [(rows[:count], query) for count in range(4) for query in rows[8:11]]
    shown += [(rows[2::-1], query) for query in rows[11:]]  # the same ones the other way round
    return shown, [plain_score(model, tokenizer, *demonstrations, query) for demonstrations, query in shown]


@pytest.fixture(scope="session")
def tiny():
    """The makers, for tests that need others than the fixtures."""

    class Makers:
        rows = staticmethod(make_rows)
        tokenizer = staticmethod(make_tokenizer)
        plain_score = staticmethod(plain_score)
        size = SIZE

    return Makers

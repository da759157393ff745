"""The LLM's preferences, 32 candidates a query: shared prefixes and packed batches, against the plain loop.

The plain loop takes the pairs as they come, pads whole prompts in batches of 8 and computes all logits. The model is a
small Llama with random weights; what counts is what goes through it.
"""

import json
import sys
import time

import numpy as np
import torch
from common import DATA, in_new_process, peak_memory, report
from ruie_training.data.candidates import by_id
from ruie_training.mining.bm25 import mine
from ruie_training.preferences import alone, choose_candidates, prompt_and_answer
from ruie_training.preferences.local import LocalScorer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ruie_components import prompts
from ruie_components.formats.jsonl import read_examples

PLAIN_PAIRS = 192  # that the plain loop is timed on
BATCH = 8


def load(queries: int, pool: int, per_query: int):
    """A model, its tokenizer, and the pairs of the first rows of a set, query by query."""
    rows = list(by_id(read_examples(DATA / "NER" / "CoNLL2003" / "train.jsonl.gz")).values())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4000, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(map(prompts.render_demonstration, rows[:3000]), trainer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4000, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=2048, initializer_range=0.1,
    )  # fmt: skip
    rows = rows[:pool]
    mined = choose_candidates(mine(rows[:queries], rows, progress=False), per_query=per_query)
    known = by_id(rows)
    pairs = [(known[name], known[query]) for query, ids, _ in mined for name in ids]
    return LlamaForCausalLM(config).eval(), PreTrainedTokenizerFast(tokenizer_object=tokenizer), pairs


@torch.inference_mode()
def plain(model, tokenizer, pairs):
    scores = []
    for start in range(0, len(pairs), BATCH):
        written = [prompt_and_answer(shown) for shown in alone(pairs[start : start + BATCH])]
        ids = [tokenizer(prompt + answer)["input_ids"] for prompt, answer in written]
        before = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in written]
        width = max(map(len, ids))
        padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
        likelihoods = model(input_ids=padded, attention_mask=mask).logits.log_softmax(-1)
        for row, first, found in zip(ids, before, likelihoods, strict=True):
            answer = range(first, len(row))
            scores.append(float(np.mean([found[at - 1, row[at]].item() for at in answer])))
    return scores


def part(way: str, queries: int, pool: int, per_query: int) -> None:
    """One way of scoring in a process of its own: pairs a second of one core, peak memory, the first scores."""
    model, tokenizer, pairs = load(queries, pool, per_query)
    pairs = pairs[:PLAIN_PAIRS] if way == "plain" else pairs
    torch.set_num_threads(1)
    before = peak_memory()
    begin = time.process_time()  # of one thread, so that other work on the machine does not count
    scores = plain(model, tokenizer, pairs) if way == "plain" else LocalScorer(model, tokenizer).score(pairs)
    rate = len(pairs) / (time.process_time() - begin)
    found = {"rate": rate, "memory": peak_memory() - before, "pairs": len(pairs), "scores": scores[:PLAIN_PAIRS]}
    print(json.dumps(found))


def measure(way: str, queries: int, pool: int, per_query: int = 32) -> dict:
    numbers = map(str, (queries, pool, per_query))
    return json.loads(in_new_process("preferences.py", way, *numbers).splitlines()[-1])


def compare() -> None:
    for what, queries, pool in (("all rows are queries", 128, 128), ("few queries, large pool", 32, 2000)):
        slow, ours = measure("plain", queries, pool), measure("ours", queries, pool)
        difference = max(abs(a - b) for a, b in zip(slow["scores"], ours["scores"], strict=True))
        report(
            f"preferences, pairs/s, {ours['pairs']} pairs, {what}", ours["rate"] / slow["rate"], "at least 2.5",
            ours=ours["rate"], plain=slow["rate"], difference=difference,
            MB_more_ours=ours["memory"], MB_more_plain=slow["memory"],
        )  # fmt: skip


def grow() -> None:
    """Once, 4 and 16 times the work: rows, queries and pairs grow together, 8 candidates a query."""
    first = None
    for rows in (32, 128, 512):
        ours = measure("ours", rows, rows, per_query=8)
        first = first or ours
        report(
            f"preferences as the work grows, {ours['pairs']} pairs", ours["rate"] / first["rate"], "about 1",
            pairs_per_second=ours["rate"], MB_more=ours["memory"],
        )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        part(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        compare()
        grow()

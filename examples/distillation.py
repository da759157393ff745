"""Distil label F1 into a sentence-transformers model, in one plain script, and use the model as a store's encoder.

The teacher is free: how well the labels of two examples agree. For every example of a pool BM25 finds candidates, the
teacher scores them, and the student learns to rank them the same way (KL divergence). ``ruie train`` does this over
many data sets, with an LLM's preferences and a cross-encoder; ``ruie adapt`` does it without torch.

Run it:

    pip install "ruie-components[train]"
    python examples/distillation.py                                       # the starter pool, a small model from scratch
    python examples/distillation.py pool.jsonl intfloat/multilingual-e5-small
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

import ruie_components
from ruie_components import DemonstrationStore, Example, Selector, prompts
from ruie_components.encoders import SentenceTransformersEncoder
from ruie_components.formats import read_examples
from ruie_components.labels import label_counts, label_f1
from ruie_components.lexical import BM25Index, example_tokens, query_tokens
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.starter import starter_examples

CANDIDATES = 16  # for each query
TEMPERATURE = 0.1  # of the teacher: label F1 lies between 0 and 1


def load_student(name: str | None) -> SentenceTransformer:
    """A checkpoint, or token vectors from scratch over the tokenizer in the package."""
    if name:
        return SentenceTransformer(name)
    assets = Path(ruie_components.__file__).parent / "assets" / "encoder"
    tokenizer = Tokenizer.from_file(str(assets / "tokenizer.json"))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=128)], device="cpu")


def training_rows(examples: list[Example], seed: int = 0) -> Dataset:
    """One row per query: its text, CANDIDATES passages (half by BM25, half by chance), and the teacher's scores."""
    random = np.random.default_rng(seed)
    index = BM25Index([example_tokens(example) for example in examples])
    nearest, _ = index.search([query_tokens(example.query) for example in examples], CANDIDATES // 2 + 1)
    counts = [label_counts(example) for example in examples]
    passages = [prompts.render_passage(example) for example in examples]
    rows = []
    for i, example in enumerate(examples):
        chosen = [j for j in nearest[i] if j != i][: CANDIDATES // 2]
        others = np.setdiff1d(np.arange(len(examples)), [i, *chosen])
        chosen += list(random.choice(others, CANDIDATES - len(chosen), replace=False))
        row = {"query": prompts.render_search_query(example.query)}
        row |= {f"passage_{n}": passages[j] for n, j in enumerate(chosen)}
        row["label"] = [label_f1(counts[i], counts[j]) / TEMPERATURE for j in chosen]
        rows.append(row)
    return Dataset.from_list(rows)


def label_f1_at_8(examples: list[Example], held_back: list[Example], student: SentenceTransformer) -> float:
    """How well the 8 most similar examples fit a query that was not trained on."""
    with tempfile.TemporaryDirectory() as folder:
        student.save(folder)
        encoder = SentenceTransformersEncoder(folder, device="cpu")
        with DemonstrationStore.create(examples, encoder=encoder, progress=False) as store:
            retriever = DemonstrationRetriever(store, Selector("similarity", k=8))
            pairs = [
                (label_counts(example), label_counts(shown.example))
                for example in held_back
                for shown in retriever.retrieve(example)
            ]
    return float(np.mean([label_f1(wanted, shown) for wanted, shown in pairs]))


def main(file: str | None = None, checkpoint: str | None = None, epochs: int = 10) -> tuple[float, float]:
    """Train, and compare the student before and after on every fifth example."""
    examples = list(read_examples(file)) if file else starter_examples("NER")
    held_back, pool = examples[::5], [example for i, example in enumerate(examples) if i % 5]
    student = load_student(checkpoint)
    before = label_f1_at_8(pool, held_back, student)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            learning_rate=2e-5 if checkpoint else 0.05,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,  # its bar would hide the figures
            use_cpu=True,
        )
        SentenceTransformerTrainer(
            student, arguments, train_dataset=training_rows(pool), loss=DistillKLDivLoss(student)
        ).train()
    after = label_f1_at_8(pool, held_back, student)
    print(f"label F1@8 on {len(held_back)} held-back examples: {before:.1%} before, {after:.1%} after")
    return before, after


if __name__ == "__main__":
    main(*sys.argv[1:3])

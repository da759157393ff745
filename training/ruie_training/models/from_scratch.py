"""Models from training texts only: tokenizers, a small encoder, cross-encoder and causal LM.

small.toml trains them, without pre-trained weights. Each is written to a folder that transformers or
sentence-transformers loads like any checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from ruie_components.adaptation.token_bags import token_bags
from ruie_training.models.settings import LanguageModel, StaticModel, TransformerModel
from ruie_training.models.token_vectors import (
    inverse_document_frequency,
    token_vectors,
    train_tokenizer,
)
from ruie_training.models.trainers import callbacks, check_batch, train, training_arguments
from ruie_training.models.vocabulary_teacher import join_teacher

Vectors = np.ndarray[Any, np.dtype[np.float32]]

PADDING, FIRST, SEPARATOR, UNKNOWN = "[PAD]", "[CLS]", "[SEP]", "[UNK]"
END = "<end>"
_ALL_TOKENS = 10**6  # maximum tokens of a text, so that none is truncated


def encoder_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """The tokenizer of encoder and cross-encoder (``token_vectors.train_tokenizer``), with a separator for pairs."""
    tokenizer = train_tokenizer(texts, vocabulary)
    tokenizer.add_special_tokens([SEPARATOR, UNKNOWN])
    return tokenizer


def wrap_tokenizer(tokenizer: Any, max_length: int) -> PreTrainedTokenizerFast:
    """A transformers tokenizer that writes ``[CLS] a [SEP]`` and ``[CLS] a [SEP] b [SEP]``."""
    from tokenizers import Tokenizer, processors

    own = Tokenizer.from_str(tokenizer.to_str())
    own.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {SEPARATOR}",
        pair=f"{FIRST} $A {SEPARATOR} $B {SEPARATOR}",
        special_tokens=[(token, own.token_to_id(token)) for token in (FIRST, SEPARATOR)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        pad_token=PADDING,
        cls_token=FIRST,
        sep_token=SEPARATOR,
        unk_token=UNKNOWN,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def _bert(tokenizer: PreTrainedTokenizerFast, settings: TransformerModel) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden,
        max_position_embeddings=settings.max_length,
        hidden_dropout_prob=0.0,  # a small model on few texts underfits
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )


def _start_embeddings(model: Any, vectors: Vectors | None) -> None:
    """Replace the first random embeddings by token vectors, at BERT's initial scale."""
    if vectors is None:
        return
    table = model.get_input_embeddings().weight
    rows = min(len(vectors), len(table))
    start = torch.from_numpy(np.ascontiguousarray(vectors[:rows, : table.shape[1]]))
    with torch.no_grad():
        table[:rows, : start.shape[1]] = start * (0.02 / start.std().clamp_min(1e-8))


def make_cross_encoder(
    folder: Path, tokenizer: Any, settings: TransformerModel, *, vectors: Vectors | None = None, seed: int = 0
) -> Path:
    """A small cross-encoder with one output and random weights.

    Args:
        folder: The folder to write.
        tokenizer: From ``encoder_tokenizer``.
        settings: Its size.
        vectors: Token vectors ``(tokens, d)`` to start the embeddings from; the first ``hidden`` columns are used.
        seed: Of the weights.
    """
    torch.manual_seed(seed)
    wrapped = wrap_tokenizer(tokenizer, settings.max_length)
    model = BertForSequenceClassification(_bert(wrapped, settings))
    _start_embeddings(model, vectors)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def make_transformer_encoder(
    folder: Path, tokenizer: Any, settings: TransformerModel, *, vectors: Vectors | None = None, seed: int = 0
) -> Path:
    """A small bi-encoder with mean pooling, unit vectors and random weights; arguments as ``make_cross_encoder``."""
    torch.manual_seed(seed)
    wrapped = wrap_tokenizer(tokenizer, settings.max_length)
    model = BertModel(_bert(wrapped, settings))
    _start_embeddings(model, vectors)
    body = folder.with_name(f"{folder.name}-body")
    model.save_pretrained(body)
    wrapped.save_pretrained(body)
    transformer = Transformer(str(body), max_seq_length=settings.max_length)
    modules = [transformer, Pooling(settings.hidden, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def static_vectors(tokenizer: Any, texts: Sequence[str], settings: StaticModel, seed: int = 0) -> Vectors:
    """The initial token vectors of a static encoder, ``(tokens, random + svd + the teacher's dimensions)``."""
    counts = token_bags(tokenizer, texts, _ALL_TOKENS)
    weights = inverse_document_frequency(counts)
    vectors = token_vectors(
        counts, weights, random=settings.random, svd=settings.svd, svd_weight=settings.svd_weight, seed=seed
    )
    if settings.teacher:
        vectors = join_teacher(vectors, weights, counts, tokenizer, settings.teacher)
    return np.asarray(vectors * weights[:, None], np.float32)


def make_static_encoder(folder: Path, tokenizer: Any, vectors: Vectors) -> Path:
    """A bi-encoder of token vectors (the unit vector of their mean). It trains and runs fast on a CPU."""
    scaled = vectors / np.linalg.norm(vectors, axis=1).mean()
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=scaled), Normalize()], device="cpu"
    )
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def language_model_tokenizer(texts: Sequence[str], vocabulary: int, max_length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that keeps case and line breaks, so that any text is decoded without loss."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=max_length
    )


def _packed(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int) -> list[list[int]]:
    """All texts concatenated and cut into rows of equal length, without padding and without the incomplete last row."""
    tokens = tokenizer([f"{text}{END}" for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    flat = [token for row in tokens for token in row]
    return [flat[start : start + length] for start in range(0, len(flat) - length + 1, length)]


def make_language_model(
    folder: Path,
    texts: Sequence[str],
    settings: LanguageModel,
    *,
    vocabulary: int = 8000,
    seed: int = 0,
    metrics: Path | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> dict[str, float]:
    """Train a small decoder on whole prompts, each with its answer.

    Args:
        folder: The model is written to ``folder / "model"``, checkpoints beside it.
        texts: Prompts with answers; they are packed into rows of ``settings.max_length`` tokens.
        settings: Size and optimisation.
        vocabulary: The number of tokens of its tokenizer.
        seed: Of weights and order.
        metrics: A JSONL file to append to.
        progress: Show a bar on stderr.
        tensorboard: Also log for TensorBoard.

    Returns:
        ``steps``, ``seconds``, ``loss``, ``parameters``.

    Raises:
        TrainingError: The texts fill fewer rows than one batch.
    """
    torch.manual_seed(seed)
    tokenizer = language_model_tokenizer(texts, vocabulary, settings.max_length)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            intermediate_size=3 * settings.hidden,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.max_length,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    rows = _packed(tokenizer, texts, settings.max_length)
    what = f"rows of {settings.max_length:,} tokens, which {len(texts):,} prompts fill,"
    check_batch(len(rows), what, settings.optimisation.batch_size)
    chosen = training_arguments(settings.optimisation, folder, seed=seed, tensorboard=tensorboard)
    arguments = TrainingArguments(**chosen, ddp_find_unused_parameters=False)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        callbacks=callbacks("language model", metrics=metrics, progress=progress),
    )
    result = train(trainer)
    if trainer.is_world_process_zero():
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
    return {**result, "parameters": float(model.num_parameters())}

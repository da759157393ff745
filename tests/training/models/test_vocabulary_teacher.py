import gzip
import json
import shutil

import numpy as np
import pytest
import torch
from ruie_training.errors import TrainingError
from ruie_training.models.settings import VocabularyTeacher
from ruie_training.models.token_vectors import inverse_document_frequency, train_tokenizer
from ruie_training.models.vocabulary_teacher import join_teacher, load_teacher, teacher_vectors, token_texts
from ruie_training.static.build import StaticRecipe, build
from scipy.sparse import csr_matrix
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from ruie_components.encoders import load_encoder

ENGLISH = ["The red pump failed in Lisbon.", "A red valve failed in Porto."] * 6
CHINESE = ["北京的公司收购了上海的公司。"] * 3
TEXTS = ENGLISH + CHINESE
WORDS = ["red", "pump", "failed", "in", "lisbon", "a", "valve", "porto", "the", "."]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A random BERT of two layers whose word pieces are letters and the English words of the texts."""
    home = tmp_path_factory.mktemp("teacher")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*WORDS, *letters])]
    vocabulary = home / "vocab.txt"
    vocabulary.write_text("\n".join([*pieces, *(f"##{letter}" for letter in letters)]), "utf-8")
    tokenizer = BertTokenizerFast(str(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(home / "body")
    tokenizer.save_pretrained(home / "body")
    modules = [Transformer(str(home / "body")), Pooling(32, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(home / "whole"), create_model_card=False)
    return home / "whole"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 400)


def settings(teacher, **numbers):
    return VocabularyTeacher(model=str(teacher), **{"dimensions": 8, "dropped": 2, **numbers})


def counts_of(tokenizer, texts=TEXTS):
    counts = np.zeros((len(texts), tokenizer.get_vocab_size()), np.float32)
    for row, text in zip(counts, texts, strict=True):
        np.add.at(row, tokenizer.encode(text).ids, 1)
    return csr_matrix(counts)


def frequencies_of(tokenizer, texts):
    return np.asarray(counts_of(tokenizer, texts).sum(0), float).ravel()


def test_the_text_of_a_token_has_no_marks_and_special_tokens_have_none(tokenizer):
    texts = token_texts(tokenizer)
    assert texts[tokenizer.token_to_id("Ġlisbon")] == "lisbon"
    assert texts[tokenizer.token_to_id("[CLS]")] == ""
    half_a_character = tokenizer.token_to_id("å")
    assert texts[half_a_character] == ""


def test_vectors_are_the_teachers_direction_and_fall_with_frequency(tokenizer, teacher):
    frequencies = np.ones(tokenizer.get_vocab_size())
    red, pump, chinese = (tokenizer.token_to_id(token) for token in ("Ġred", "Ġpump", "Ġåħ¬"))
    frequencies[red] = 1000
    vectors = teacher_vectors(tokenizer, frequencies, settings(teacher))
    assert vectors.shape == (tokenizer.get_vocab_size(), 8)
    share = 1000 / frequencies.sum()
    assert np.linalg.norm(vectors[red]) == pytest.approx(1e-3 / (1e-3 + share), rel=1e-4)
    assert np.linalg.norm(vectors[pump]) > np.linalg.norm(vectors[red])
    assert chinese is not None
    assert not vectors[chinese].any()


def test_joined_vectors_keep_what_was_there_and_weigh_relative_to_the_rarest_token(tokenizer, teacher):
    counts = counts_of(tokenizer)
    idf = inverse_document_frequency(counts)
    start = np.eye(tokenizer.get_vocab_size(), 16, dtype=np.float32)
    joined = join_teacher(start, idf, counts, tokenizer, settings(teacher, weight=0.5, smoothing=1e9))
    assert np.array_equal(joined[:, :16], start)
    lengths = np.linalg.norm(joined[:, 16:] * idf[:, None], axis=1)
    assert lengths[tokenizer.token_to_id("Ġpump")] == pytest.approx(0.5 * idf.max(), rel=1e-4)


def test_a_teacher_without_the_language_of_the_texts_is_refused(tokenizer, teacher):
    frequencies = frequencies_of(tokenizer, CHINESE)
    with pytest.raises(TrainingError, match=r"knows \d+% of the tokens of the training texts"):
        teacher_vectors(tokenizer, frequencies, settings(teacher))


def test_a_teacher_with_too_short_vectors_is_refused(tokenizer, teacher):
    with pytest.raises(TrainingError, match="dropped \\+ dimensions is 302"):
        teacher_vectors(tokenizer, frequencies_of(tokenizer, ENGLISH), settings(teacher, dimensions=300))


def test_a_teacher_that_returns_nan_is_refused(tokenizer, teacher, tmp_path):
    model = SentenceTransformer(str(teacher), device="cpu")
    with torch.no_grad():
        model.transformers_model.get_input_embeddings().weight[10] = float("nan")
    model.save_pretrained(str(tmp_path), create_model_card=False)
    with pytest.raises(TrainingError, match="no finite vectors for"):
        teacher_vectors(tokenizer, frequencies_of(tokenizer, ENGLISH), settings(tmp_path))


def test_a_checkpoint_of_another_architecture_is_refused(teacher, tmp_path):
    folder = shutil.copytree(teacher, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}), "utf-8")
    with pytest.raises(TrainingError, match=r"lacks \d+ of the weights .* different architectures"):
        load_teacher(folder)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="no sentence encoder can be loaded"):
        load_teacher(tmp_path)


def test_the_encoder_is_built_with_a_teacher_and_its_card_names_it(teacher, tmp_path):
    home = tmp_path / "data" / "NER" / "open"
    home.mkdir(parents=True)
    rows = [{"task": "NER", "text": text, "schema": ["part"], "entities": []} for text in ENGLISH]
    (home / "train.jsonl.gz").write_bytes(gzip_lines(rows))
    entry = {"task": "NER", "dataset": "open", "role": "held-in", "language": "en", "permissive": True}
    (tmp_path / "data" / "catalog.json").write_text(json.dumps([{**entry, "rows": {"train": len(ENGLISH)}}]), "utf-8")
    recipe = StaticRecipe(vocabulary=400, random=24, svd=0, teacher=settings(teacher), distillation=None)
    folder = build(tmp_path / "data", tmp_path / "out", recipe, progress=False)
    assert load_encoder(folder).dimension == 32
    card = (folder / "README.md").read_text("utf-8")
    assert "--teacher TEACHER" in card
    assert "- teacher: dropped: 2" in card


def gzip_lines(rows):
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())

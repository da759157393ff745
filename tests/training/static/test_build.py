import gzip
import json

import numpy as np
import pytest
from ruie_training.models.model_card import add_figures
from ruie_training.models.token_vectors import (
    SPECIAL_TOKENS,
    inverse_document_frequency,
    token_vectors,
    train_tokenizer,
)
from ruie_training.static.build import StaticRecipe, build, main

from ruie_components.adaptation.token_bags import token_bags
from ruie_components.encoders import load_encoder
from ruie_components.errors import EncoderError
from ruie_components.keywords import CLOSE, OPEN

TEXTS = [
    "The red pump failed in Lisbon.",
    "A red valve failed in Porto.",
    "The green valve was sold in Lisbon, and the green pump too.",
    "北京的公司收购了上海的公司。",
]
TINY = StaticRecipe(vocabulary=400, random=48, svd=2, distillation=None)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 400)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    catalog = []
    for name, role, permissive, word in (
        ("open", "held-in", True, "pump"),
        ("closed", "held-in", False, "sesquipedalian"),
        ("away", "held-out", True, "antediluvian"),
    ):
        home = folder / "NER" / name
        home.mkdir(parents=True)
        rows = [
            {"task": "NER", "text": f"{text} {word} {word}", "schema": ["part"], "entities": []} for text in TEXTS[:3]
        ]
        with gzip.open(home / "train.jsonl.gz", "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)
        entry = {"task": "NER", "dataset": name, "role": role, "language": "en", "permissive": permissive}
        catalog.append({**entry, "licence": "CC0 of " + name, "source": "here : file", "rows": {"train": 3}})
    (folder / "catalog.json").write_text(json.dumps(catalog), "utf-8")
    return folder


@pytest.fixture(scope="module")
def built(data, tmp_path_factory):
    return build(data, tmp_path_factory.mktemp("encoder"), TINY)


def test_keyword_tags_are_single_tokens(tokenizer):
    tokens = tokenizer.encode(f"{OPEN} red pump {CLOSE} failed").tokens
    assert tokens[:2] == ["[CLS]", OPEN]
    assert tokens.count(CLOSE) == 1


@pytest.mark.parametrize("text", ["Zürich", "Привет, мир", "日本語", "שלום", "😀", "\x00\u200b é"])
def test_no_script_has_unknown_tokens(tokenizer, text):
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    assert tokens or not text.strip("\x00\u200b ")
    assert not set(tokens) & set(SPECIAL_TOKENS)


def test_a_word_has_the_same_tokens_wherever_it_stands(tokenizer):
    assert tokenizer.encode("lisbon", add_special_tokens=False).tokens == ["Ġlisbon"]
    for text in ('"Lisbon"', "(lisbon)", "in LISBON;", "x-lisbon"):
        assert "Ġlisbon" in tokenizer.encode(text, add_special_tokens=False).tokens


def test_rare_tokens_weigh_more_and_special_ones_nothing(tokenizer):
    counts = token_bags(tokenizer, TEXTS, 512)
    weights = inverse_document_frequency(counts)
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    rare, common = (np.flatnonzero(having == number)[-1] for number in (1, 3))
    assert weights[rare] > weights[common] > 0
    assert weights[: len(SPECIAL_TOKENS)].max() <= 1e-6


def test_tokens_of_the_same_texts_are_closer_with_singular_vectors(tokenizer):
    counts = token_bags(tokenizer, TEXTS, 512)
    idf = inverse_document_frequency(counts)
    vectors = token_vectors(counts, idf, random=48, svd=2, svd_weight=1.0)
    assert vectors.shape == (tokenizer.get_vocab_size(), 50)
    plain = token_vectors(counts, idf, random=48, svd=0, svd_weight=1.0)

    def cosine(table, first, second):
        one, two = (table[tokenizer.token_to_id(f"Ġ{word}")] for word in (first, second))
        return one @ two / np.linalg.norm(one) / np.linalg.norm(two)

    assert cosine(vectors, "red", "failed") - cosine(plain, "red", "failed") > 0.1


def test_an_empty_text_has_a_vector_too(built):
    assert np.linalg.norm(load_encoder(built).encode_texts([""], "query")) == pytest.approx(1)


def test_shared_words_make_texts_similar(built):
    encoder = load_encoder(built)
    scores = (
        encoder.encode_texts(["the red valve"], "query")
        @ encoder.encode_texts([TEXTS[1], TEXTS[2], "Nobody came."], "passage").T
    )
    assert scores[0, 0] > scores[0, 2]


def test_only_permissive_sets_that_are_not_held_out_are_read(built):
    tokens = load_encoder(built).tokenizer.get_vocab()
    assert "Ġpump" in tokens
    assert "Ġsesquipedalian" not in tokens
    assert "Ġantediluvian" not in tokens
    card = (built / "README.md").read_text("utf-8")
    assert "NER/open" in card
    assert "CC0 of open" in card
    assert "NER/closed" not in card


def test_the_same_seed_makes_the_same_bytes(data, built, tmp_path):
    again = build(data, tmp_path, TINY)
    for name in ("vectors.npz", "tokenizer.json", "encoder.json", "README.md"):
        assert (again / name).read_bytes() == (built / name).read_bytes()


def test_figures_replace_those_that_stand_in_the_card(built):
    add_figures(built, "first")
    add_figures(built, "second")
    card = (built / "README.md").read_text("utf-8")
    assert card.endswith("## Figures\n\nsecond\n")
    assert "first" not in card.partition("## Figures")[2]
    assert "NER/open" in card


def test_a_data_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no catalog\.json"):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "out")])


def test_the_embedded_encoder_is_whole_and_small():
    encoder = load_encoder()
    size = sum(path.stat().st_size for path in encoder.folder.iterdir())
    assert size <= 20_000_000
    assert encoder.encode_texts(["Ada met Bob."], "query").shape == (1, encoder.dimension)
    assert encoder.fingerprint == load_encoder(encoder.folder).fingerprint


def test_a_folder_without_weights_is_refused(built, tmp_path):
    (tmp_path / "encoder.json").write_bytes((built / "encoder.json").read_bytes())
    with pytest.raises(EncoderError, match=r"encoder\.onnx"):
        load_encoder(tmp_path)

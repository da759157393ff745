import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ruie_components import EncoderError
from ruie_components.encoders import LangChainEncoder, OnnxEncoder, SentenceTransformersEncoder, load_encoder

TEXTS = ["Ada slept.", "Bob met Cy in Rome. " * 20, "", "at Acme", "北京", "Bob", "x y " * 75]


def lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(encoder):
    vectors = encoder.encode_queries(TEXTS)
    assert vectors.shape == (7, 32)
    assert vectors.dtype == np.float32
    known = [0, 1, 3, 5, 6]
    assert lengths(vectors[known]) == pytest.approx(np.ones(5), abs=1e-6)
    assert np.array_equal(vectors, np.vstack([encoder.encode_queries([text]) for text in TEXTS]))
    assert np.array_equal(vectors, encoder.encode_queries(TEXTS[::-1])[::-1])
    assert encoder.encode_queries([]).shape == (0, 32)


def test_a_text_without_a_known_word_gets_zeros(encoder):
    assert not encoder.encode_queries(["", "北京"]).any()


def test_prefixes_and_truncation_are_those_of_the_folder(tmp_path, make_encoder, encoder):
    folder = make_encoder(tmp_path / "e", query_prefix="ada ", passage_prefix="bob ", max_tokens=3)
    prefixed = load_encoder(folder)
    assert np.array_equal(prefixed.encode_queries(["slept in rome"]), encoder.encode_queries(["ada slept in"]))
    assert np.array_equal(prefixed.encode_passages(["met"]), encoder.encode_passages(["bob met"]))


def test_lone_surrogates_are_no_error(encoder):
    assert lengths(encoder.encode_queries(["Ada \ud800 slept"])) == pytest.approx([1], abs=1e-6)


def test_the_fingerprint_changes_with_whatever_changes_a_vector(tmp_path, make_encoder):
    def fingerprint(name, **options):
        return load_encoder(make_encoder(tmp_path / name, **options)).fingerprint

    first = fingerprint("a")
    assert len(first) >= 16
    assert first == fingerprint("another name")
    changes = [
        {"seed": 1},
        {"query_prefix": "q"},
        {"passage_prefix": "p"},
        {"max_tokens": 9},
        {"layout": "block"},
        {"keywords": "typed"},
    ]
    others = [fingerprint(f"b{number}", **change) for number, change in enumerate(changes)]
    assert len({first, *others}) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("encoder.json", None, "no folder"),
        ("encoder.onnx", None, r"encoder\.onnx can't be read"),
        ("tokenizer.json", None, r"tokenizer\.json can't be read"),
        ("encoder.json", b"{}", "not the description of an encoder"),
        ("encoder.onnx", b"no graph", r"encoder\.onnx can't be loaded"),
        ("tokenizer.json", b"{}", r"tokenizer\.json is no tokenizer"),
    ],
)
def test_a_broken_folder_is_an_error_that_names_the_file(tmp_path, make_encoder, name, content, message):
    folder = make_encoder(tmp_path / "e")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    source = tmp_path / "nowhere" if message == "no folder" else folder
    with pytest.raises(EncoderError, match=message):
        load_encoder(source).encode_queries(["Ada"])


def test_a_dimension_that_the_graph_does_not_have_is_an_error(tmp_path, make_encoder):
    folder = make_encoder(tmp_path / "e")
    config = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(config | {"dimension": 7}))
    with pytest.raises(EncoderError, match="dimension 7"):
        load_encoder(folder).encode_queries(["Ada"])


def test_the_embedded_encoder_loads_without_options():
    encoder = load_encoder()
    vectors = encoder.encode_queries(["Ada slept in Rome.", "Ada slept in Oslo.", "shares fell by a third"])
    assert vectors.shape == (3, encoder.dimension)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


class Words:
    """LangChain's interface: each letter's count."""

    model = "letters-1"

    def embed_query(self, text):
        return [text.count(letter) * 2.0 for letter in "abc"]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def test_langchain_embeddings_are_normalised():
    encoder = load_encoder(Words(), layout="input", keywords="none")
    assert isinstance(encoder, LangChainEncoder)
    assert encoder.encode_queries(["aab", "zzz"]).tolist() == [pytest.approx([2 / 5**0.5, 1 / 5**0.5, 0]), [0, 0, 0]]
    assert encoder.encode_passages(["c"]).tolist() == [[0, 0, 1]]
    assert encoder.encode_passages([]).shape == (0, 3)
    assert (encoder.name, encoder.dimension, encoder.layout) == ("Words model=letters-1", 3, "input")


def test_the_fingerprint_of_embeddings_is_their_class_and_model():
    other = Words()
    other.model = "letters-2"
    assert load_encoder(Words()).fingerprint == load_encoder(Words()).fingerprint
    assert load_encoder(Words()).fingerprint != load_encoder(other).fingerprint
    assert load_encoder(Words()).fingerprint != load_encoder(Words(), layout="input").fingerprint


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[float("nan"), 1.0]], "NaN or infinity for 'Ada'"),
        ([[float("inf"), 1.0]], "NaN or infinity for 'Ada'"),
        ([[1.0], [1.0]], r"shape \(2, 1\) for 1 texts"),
        ([[]], r"shape \(1, 0\)"),
        ([1.0], r"shape \(1,\)"),
        ([["a"]], "no numbers"),
    ],
)
def test_vectors_that_are_none_are_refused(vectors, message):
    class Broken(Words):
        def embed_documents(self, texts):
            return vectors

    with pytest.raises(EncoderError, match=message):
        load_encoder(Broken()).encode_passages(["Ada"])


def test_an_encoder_is_returned_as_it_is_and_other_things_are_refused(encoder):
    assert load_encoder(encoder) is encoder
    with pytest.raises(EncoderError, match="loaded already"):
        load_encoder(encoder, layout="block")
    with pytest.raises(EncoderError, match="int is no encoder"):
        load_encoder(3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny BERT with mean pooling and prompts, saved by sentence-transformers."""
    pytest.importorskip("sentence_transformers", reason="needs the extra [train]")
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoint")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "bob", "slept", "met", ".", "query", "passage", ":"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder / "bert")
    model = SentenceTransformer(str(folder / "bert"), device="cpu")
    model.prompts = {"query": "query: ", "passage": "passage: "}
    model.save(str(folder / "model"))
    return folder / "model"


def test_a_sentence_transformers_folder_is_encoded_with_its_prompts(checkpoint):
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(checkpoint, device="cpu")
    assert isinstance(encoder, SentenceTransformersEncoder)
    model = SentenceTransformer(str(checkpoint), device="cpu")
    texts = ["Ada slept.", "Bob met Ada. " * 3, "Bob"]
    for prefix, encode in (("query: ", encoder.encode_queries), ("passage: ", encoder.encode_passages)):
        expected = model.encode([prefix + text for text in texts], prompt="", normalize_embeddings=True)
        assert encode(texts) == pytest.approx(expected, abs=1e-5)
    assert encoder.dimension == 16
    assert encoder.encode_queries([]).shape == (0, 16)


def test_prefixes_pooling_and_length_can_be_set_and_change_the_fingerprint(checkpoint):
    plain = load_encoder(checkpoint, device="cpu")
    again = load_encoder(str(checkpoint), device="cpu")
    assert plain.fingerprint == again.fingerprint
    changed = [
        load_encoder(checkpoint, device="cpu", **options)
        for options in ({"query_prefix": ""}, {"pooling": "cls"}, {"max_tokens": 4}, {"layout": "input"})
    ]
    assert len({plain.fingerprint, *(each.fingerprint for each in changed)}) == 5
    vectors = [each.encode_queries(["Ada met Bob. Bob slept."])[0] for each in [plain, *changed[:3]]]
    assert all(not np.allclose(vectors[0], other, atol=1e-3) for other in vectors[1:])


def test_checkpoints_of_known_families_get_their_prefixes_unless_they_have_their_own(checkpoint, tmp_path):
    for name, prefixes in {
        "e5-base-v2": ("query: ", "passage: "),
        "bge-small-en-v1.5": ("Represent this sentence for searching relevant passages: ", ""),
        "e5-mistral": ("", ""),
    }.items():
        shutil.copytree(checkpoint, tmp_path / name)
        settings = tmp_path / name / "config_sentence_transformers.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prompts": {}}))
        encoder = load_encoder(tmp_path / name, device="cpu")
        assert (encoder.query_prefix, encoder.passage_prefix) == prefixes
        assert load_encoder(tmp_path / name, device="cpu", query_prefix="").query_prefix == ""
    shutil.copytree(checkpoint, tmp_path / "bge-base-en")
    assert load_encoder(tmp_path / "bge-base-en", device="cpu").passage_prefix == "passage: "


def test_a_name_that_is_nowhere_is_an_error_that_says_what_it_could_be(monkeypatch, tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs the extra [train]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError, match=r"neither an exported encoder .* nor a hub name"):
        load_encoder(str(tmp_path / "nothing"))


def test_without_the_extra_the_error_names_the_pip_line(tmp_path):
    code = """
import sys
sys.modules["sentence_transformers"] = None
from ruie_components import load_encoder
try:
    load_encoder("some/model")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'ruie-components[train]'" in done.stdout


def test_onnx_threads_can_be_limited(encoder_folder, encoder):
    assert np.array_equal(OnnxEncoder(encoder_folder, threads=1).encode_queries(TEXTS), encoder.encode_queries(TEXTS))

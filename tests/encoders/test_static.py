"""Static token vectors: what is stored, what a text's vector is, and what broken files say."""

import io
import pickle

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ruie_components import EncoderError
from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import TokenVectors, write_static_encoder

WORDS = ["red", "pump", "failed", "sold", "[UNK]"]


def tokenizer():
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def vectors(dimension=16):
    return np.random.default_rng(0).standard_normal((len(WORDS), dimension)).astype(np.float32)


def write(folder, weights, **settings):
    config = EncoderConfig(name="tiny", layout="input", dimension=weights.dimension, **settings)
    return write_static_encoder(folder, config, tokenizer(), weights, card="# card\n")


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_vectors_are_within_half_a_step(bits):
    exact = vectors(8)
    exact[3] = 0
    weights = TokenVectors.quantize(exact, bits)
    back = weights.vectors(np.arange(len(WORDS)))
    assert (np.abs(back - exact) <= weights.scale[:, None] / 2 + 1e-6).all()
    np.testing.assert_allclose(np.abs(back).max(1), np.abs(exact).max(1), rtol=1e-6)
    assert not back[3].any()
    assert (len(weights), weights.dimension) == (len(WORDS), 8)
    again = TokenVectors.from_bytes(weights.to_bytes())
    assert again.to_bytes() == weights.to_bytes()


def test_only_four_and_eight_bits_can_be_stored():
    with pytest.raises(ValueError, match="5 bits"):
        TokenVectors.quantize(np.ones((2, 4), np.float32), 5)
    with pytest.raises(ValueError, match="3 numbers"):
        TokenVectors.quantize(np.ones((2, 3), np.float32), 4)


@pytest.mark.parametrize(("exponent", "bits"), [(1.0, 8), (0.5, 8), (0.7, 4)])
def test_a_text_is_the_sum_of_its_tokens_each_counted_by_the_exponent(tmp_path, exponent, bits):
    weights = TokenVectors.quantize(vectors(), bits, exponent)
    encoder = load_encoder(write(tmp_path, weights, max_tokens=5))
    texts = ["red pump failed failed failed sold sold", "sold", ""]
    table = weights.vectors(np.arange(len(WORDS)))
    first = table[0] + table[1] + 3**exponent * table[2]
    expected = [first / np.linalg.norm(first), table[3] / np.linalg.norm(table[3]), np.zeros(16)]
    np.testing.assert_allclose(encoder.encode_texts(texts, "passage"), expected, atol=1e-6)
    assert np.array_equal(encoder.encode_texts(texts, "passage")[1:], encoder.encode_texts(texts[1:], "passage"))
    assert encoder.encode_texts([], "query").shape == (0, 16)


def test_the_fingerprint_changes_with_the_vectors_and_not_with_the_name_or_the_origin(tmp_path):
    def fingerprint(name, weights, **settings):
        return load_encoder(write(tmp_path / name, weights, **settings)).fingerprint

    exact = vectors()
    first = fingerprint("a", TokenVectors.quantize(exact))
    assert first == fingerprint("b", TokenVectors.quantize(exact), adapted_from="embedded")
    others = {
        fingerprint("c", TokenVectors.quantize(exact, 4)),
        fingerprint("d", TokenVectors.quantize(exact, count_exponent=0.7)),
        fingerprint("e", TokenVectors.quantize(exact), query_prefix="q"),
    }
    assert len({first, *others}) == 4


class Explosive:
    def __reduce__(self):
        return print, ("run",)


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


TABLE, SCALE = np.ones((len(WORDS), 16), np.int8), np.ones(len(WORDS), np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        (b"no archive", r"vectors\.npz can't be read"),
        (pickle.dumps(Explosive()), r"vectors\.npz can't be read"),
        (archive(table=np.array([Explosive()], object), scale=SCALE, count_exponent=1.0), "can't be read"),
        (archive(table=TABLE, scale=SCALE), "count_exponent"),
        (archive(table=TABLE.astype(np.float64), scale=SCALE, count_exponent=1.0), "float64"),
        (archive(table=TABLE[0], scale=SCALE, count_exponent=1.0), "shape"),
        (archive(table=TABLE, scale=SCALE[1:], count_exponent=1.0), "one finite number per token"),
        (archive(table=TABLE, scale=SCALE * np.nan, count_exponent=1.0), "one finite number per token"),
        (archive(table=TABLE[:, :8], scale=SCALE, count_exponent=1.0), "dimension 16"),
        (archive(table=TABLE[1:], scale=SCALE[1:], count_exponent=1.0), "4 vectors"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_broken_file_is_an_error_that_names_it_and_runs_nothing(tmp_path, content, message, capsys):
    folder = write(tmp_path, TokenVectors(TABLE, SCALE))
    path = folder / "vectors.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EncoderError, match=message):
        load_encoder(folder).encode_texts(["red"], "query")
    assert "run" not in capsys.readouterr().out

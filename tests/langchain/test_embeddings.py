import numpy as np
import pytest

from ruie_components.langchain import RUIEEmbeddings


async def test_vectors_are_the_encoders(encoder):
    embeddings = RUIEEmbeddings(encoder)
    texts = ["Ada met Bob.", "Rome"]
    vectors = embeddings.embed_documents(texts)
    assert np.array(vectors) == pytest.approx(encoder.encode_texts(texts, "passage"))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert {type(number) for number in vectors[0]} == {float}
    assert embeddings.embed_query("Ada") == pytest.approx(encoder.encode_texts(["Ada"], "query")[0].tolist())
    assert await embeddings.aembed_documents(texts) == vectors
    assert await embeddings.aembed_query("Ada") == embeddings.embed_query("Ada")
    assert embeddings.embed_documents([]) == []

import pytest


@pytest.fixture(autouse=True)
def _no_waiting(no_waiting):
    pass


@pytest.fixture
def searches(store, monkeypatch):
    """How many texts each call of the encoder was given."""
    sizes: list[int] = []
    encode = type(store.encoder).encode_queries
    monkeypatch.setattr(
        type(store.encoder), "encode_queries", lambda self, texts: sizes.append(len(texts)) or encode(self, texts)
    )
    return sizes

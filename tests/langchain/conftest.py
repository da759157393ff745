import pytest
from tenacity import wait_none

from ruie_components.chat import retry
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES


@pytest.fixture
def store(encoder):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        yield store


@pytest.fixture
def searches(store, monkeypatch):
    """How many texts each call of the encoder was given."""
    sizes: list[int] = []
    encode = type(store.encoder).encode_queries
    monkeypatch.setattr(
        type(store.encoder), "encode_queries", lambda self, texts: sizes.append(len(texts)) or encode(self, texts)
    )
    return sizes


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", wait_none())

import pytest

from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES


@pytest.fixture
def store(encoder):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        yield store

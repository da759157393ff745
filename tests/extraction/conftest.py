import pytest

from ruie_components.extraction import Extractor
from ruie_components.extraction.corpus import extract_corpus

from .corpus_runs import DOCUMENTS, rows_in


@pytest.fixture
def run(store, tmp_path):
    """Extracts from a corpus with a model; returns the summary and the rows."""

    def extract(model, documents=DOCUMENTS, out="run", **options):
        extractor = Extractor(store, model, k=1, task="NER", labels=["person"])
        summary = extract_corpus(
            extractor,
            [(f"line {i}", row) for i, row in enumerate(documents)],
            tmp_path / out,
            progress=False,
            **options,
        )
        return summary, rows_in(tmp_path / out)

    return extract

"""An encoder of your own in a store: here hashed character trigrams, which need no model and no vocabulary.

An encoder is any object with a name, a fingerprint, a dimension and two methods. ``TextEncoder`` does the rest: it
writes queries and examples as texts, spans of examples marked, and asks for the vectors of these texts.

Run it:

    pip install ruie-components
    python examples/custom_encoder.py
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from ruie_components import DemonstrationStore, Selector
from ruie_components.encoders import TextEncoder, TextRole
from ruie_components.encoders.base import fingerprint, unit_vectors
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.starter import starter_examples


class TrigramEncoder(TextEncoder):
    """The counts of a text's character trigrams, hashed into ``dimension`` numbers.

    Args:
        dimension: Numbers in a vector.
    """

    def __init__(self, dimension: int = 512) -> None:
        self.name = f"trigrams-{dimension}"
        self._dimension = dimension
        self.layout = Layout.INPUT  # the text alone, without schema and answer
        self.keywords = KeywordStrategy.NONE  # and without marks around its spans

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """A store refuses an encoder with another fingerprint than the one that it was built with."""
        return fingerprint({"encoder": self.name, "version": 1})

    def encode_texts(self, texts: Sequence[str], role: TextRole) -> np.ndarray:  # noqa: ARG002
        """Vectors of texts, (n, dimension), of unit length; ``role`` makes no difference here."""
        counts = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(counts, texts, strict=True):
            padded = f"  {text.lower()} "
            for i in range(len(padded) - 2):
                row[crc32(padded[i : i + 3].encode()) % self.dimension] += 1
        return unit_vectors(np.sqrt(counts), texts, name=self.name)


def main() -> None:
    """The same query with the embedded encoder and with this one."""
    for encoder in (None, TrigramEncoder()):
        with DemonstrationStore.create(starter_examples("NER"), encoder=encoder, progress=False) as store:
            retriever = DemonstrationRetriever(store, Selector("similarity", k=3))
            print(store.encoder.name)
            for shown in retriever.retrieve("Find me a cheap flight to Rome with Aurora Air."):
                print(f"  {shown.score:.2f} {shown.example.text}")


if __name__ == "__main__":
    main()

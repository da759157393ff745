"""What the tests of ``ruie extract`` share."""

import json

BASELINE = ("-t", "NER", "-l", "city", "-m", "baseline", "-k", "4")
"""Options of an extraction without a pool of one's own."""
WITHOUT_MODEL = (*BASELINE[:4], *BASELINE[6:])


def corpus_rows(folder):
    """The rows of a corpus run."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]

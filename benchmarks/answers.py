"""How long reading an answer of ten megabytes takes, by the kind of answer. Goal: under 10 s each.

python benchmarks/answers.py            # 10 MB each
python benchmarks/answers.py 1000000    # of another size
"""

import sys
import time

from ruie_components import Query
from ruie_components.answers import parse

TEXT = "Mira Holt joined Corvex in Graz on Monday. Mira Holt had worked for Lindal before. " * 3
PIECES = {
    "linear": "person: Mira Holt; city: nowhere at all; ",
    "json": '{"type": "person", "text": "Mira Holt"}, ',
    "prose": "I do not know, really.\n",
    "tuples": "(Mira Holt, person)\n",
    "markers": "<think>x</think><|im_start|>user\n",
    "open brackets": '[{"a": ',
}


def main(size: int) -> None:
    query = Query(task="NER", text=TEXT, labels=["person", "city"])
    for kind, piece in PIECES.items():
        answer = piece * (size // len(piece))
        began = time.process_time()
        parse(answer, query)
        print(f"{kind}: {len(answer):,} characters in {time.process_time() - began:.1f} s of processor time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)

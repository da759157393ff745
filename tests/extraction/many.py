"""Many queries with one answer each, and a model that finds it, for tests of long extractions."""

import threading
import time

from ruie_components import Query
from ruie_components.extraction import ExtractionResult


def names(text: str) -> Query:
    return Query(task="NER", text=text, labels=["person"])


PEOPLE = ["Ada", "Bob", "Cy", "Dan", "Eve", "Flo", "Gus", "Hal"]
MANY = [names(f"Here {name} slept.") for name in PEOPLE]


SOME = [names(f"Here Ada slept {times} times.") for times in range(300)]
"""More than are searched at once, so that some are surely not begun where a run ends early."""


class Copier:
    """Answers with the second word of the input; slower for the earlier names; fails on some."""

    def __init__(self, *failing: str):
        self.failing = set(failing)
        self.asked: list[str] = []
        self.at_a_time = self.most_at_a_time = 0
        self._lock = threading.Lock()

    def __call__(self, messages):
        name = messages[-1][1].split('Input: "')[1].split()[1]
        with self._lock:
            self.asked.append(name)
            self.at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        time.sleep(0.03 if name < "D" else 0.001)
        with self._lock:
            self.at_a_time -= 1
        if name in self.failing:
            raise RuntimeError(f"no {name} today")
        return f"person: {name}"


def answers_of(results: list[ExtractionResult]) -> list[str | None]:
    return [result.extraction.entities[0].text if result.extraction.entities else None for result in results]

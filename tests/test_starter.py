from collections import Counter, defaultdict

import pytest

from ruie_components import Task
from ruie_components.starter import starter_examples


@pytest.mark.parametrize("task", Task)
def test_each_task_has_enough_valid_demonstrations_over_many_domains(task):
    examples = starter_examples(task)
    assert len(examples) >= 60
    assert {example.task for example in examples} == {task}
    domains = Counter(example.dataset for example in examples)
    assert len(domains) >= 8
    assert min(domains.values()) >= 5


def test_no_demonstration_stands_twice():
    examples = starter_examples()
    assert len(examples) >= 240
    assert len({example.content_id for example in examples}) == len(examples)
    assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("task", Task)
def test_some_have_nothing_to_extract(task):
    examples = starter_examples(task)
    empty = sum(not example.annotations for example in examples)
    assert 0.05 < empty / len(examples) < 0.2


@pytest.mark.parametrize("task", Task)
def test_a_domain_has_one_schema_and_shows_every_label_of_it(task):
    schemas, used = defaultdict(set), defaultdict(Counter)
    for example in starter_examples(task):
        domain = (example.dataset, example.events[0].type if task is Task.EAE else "")
        schemas[domain].add(example.labels)
        used[domain].update(example.annotation_labels)
    for domain, labels in schemas.items():
        assert len(labels) == 1, domain
        assert min(used[domain][label] for label in next(iter(labels))) >= 2, domain

"""The distillation loss against the reference's numbers, its definition, and itself on two processes."""

import itertools
import math

import pytest
import torch
from ruie_training.errors import TrainingError
from ruie_training.models.losses import RUIEDistillationLoss, distillation_loss


def batch(size=3, group=4, dimension=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(size, dimension, generator=generator, dtype=torch.float64)
    passages = torch.randn(size, group, dimension, generator=generator, dtype=torch.float64)
    teacher = torch.randn(size, group, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(queries, dim=-1), torch.nn.functional.normalize(passages, dim=-1), teacher


def test_golden_losses(golden):
    cases = golden("losses.json")
    assert cases
    for case in cases:
        tensors = [
            torch.tensor(case[name], dtype=torch.float64)
            for name in ("query_embeddings", "passage_embeddings", "teacher_scores")
        ]
        loss = distillation_loss(*tensors, case["temperature"], case["contrastive_weight"])
        assert loss.kl.item() == pytest.approx(case["kl_loss"], abs=1e-6)
        assert loss.contrastive.item() == pytest.approx(case["contrastive_loss"], abs=1e-6)
        assert loss.total.item() == pytest.approx(case["total_loss"], abs=1e-6)


def test_the_definition_one_pair_at_a_time():
    queries, passages, teacher = batch()
    size, group, _ = passages.shape
    divergence = contrast = 0.0
    for i in range(size):
        row = [float(queries[i] @ passages[j, k]) for j, k in itertools.product(range(size), range(group))]
        positive = passages[:, 0]
        others = [j for j in range(size) if j != i]
        row += [float(positive[i] @ queries[j]) for j in others]
        row += [float(queries[i] @ queries[j]) for j in others]
        row += [float(positive[i] @ positive[j]) for j in others]
        contrast += math.log(sum(math.exp(score / 0.1) for score in row)) - row[i * group] / 0.1
        student = [float(queries[i] @ passages[i, k]) / 0.1 for k in range(group)]
        p, q = (torch.tensor(scores).double().softmax(0).tolist() for scores in (teacher[i].tolist(), student))
        divergence += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    loss = distillation_loss(queries, passages, teacher, temperature=0.1, weight=0.5)
    assert loss.kl.item() == pytest.approx(divergence / size)
    assert loss.contrastive.item() == pytest.approx(contrast / size)
    assert loss.total.item() == pytest.approx((divergence + 0.5 * contrast) / size)


def test_a_student_that_agrees_has_no_divergence():
    queries, passages, _ = batch()
    teacher = torch.einsum("bd,bnd->bn", queries, passages) / 0.05
    assert distillation_loss(queries, passages, teacher, temperature=0.05).kl.item() == pytest.approx(0, abs=1e-12)


def test_a_batch_of_one_has_finite_gradients():
    queries, passages, teacher = batch(size=1)
    queries.requires_grad_()
    distillation_loss(queries, passages, teacher).total.backward()
    assert torch.isfinite(queries.grad).all()
    assert queries.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, p, t: (q[:2], p, t, 0.01), r"\(2, 5\)"),
        (lambda q, p, t: (q, p[:, :, :4], t, 0.01), r"\(3, 4, 4\)"),
        (lambda q, p, t: (q, p, t[:, :2], 0.01), r"\(3, 2\)"),
        (lambda q, p, t: (q, p, t, 0.0), "temperature"),
    ],
    ids=["other batch", "other dimension", "other group", "zero temperature"],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        distillation_loss(*change(*batch()))


class Vectors(torch.nn.Module):
    """A stand-in encoder that looks its vectors up."""

    def forward(self, features):
        return {"sentence_embedding": features["input_ids"].double()}


def columns(queries, passages):
    return [{"input_ids": queries}, *({"input_ids": passages[:, k]} for k in range(passages.shape[1]))]


def test_the_module_normalises_and_returns_parts_that_add_up():
    queries, passages, teacher = batch()
    parts = RUIEDistillationLoss(Vectors(), temperature=0.05, weight=0.3)(columns(3 * queries, 2 * passages), teacher)
    expected = distillation_loss(queries, passages, teacher, 0.05, 0.3)
    assert parts["kl"].item() == pytest.approx(expected.kl.item())
    assert sum(parts.values()).item() == pytest.approx(expected.total.item())


def test_a_loss_that_is_no_number_stops_training_and_names_the_cause():
    queries, passages, teacher = batch()
    loss = RUIEDistillationLoss(Vectors())
    teacher[1, 2] = math.nan
    with pytest.raises(TrainingError, match="teacher's scores"):
        loss(columns(queries, passages), teacher)
    passages[0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match="learning rate"):
        loss(columns(queries, passages), batch()[2])


class Lengths(torch.nn.Module):
    """A stand-in transformer: the mean of its tokens' vectors, and a record of the shapes that it was given."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.table = torch.nn.Parameter(torch.randn(20, 6, generator=generator, dtype=torch.float64))
        self.shapes = []

    def forward(self, features):
        mask = features["attention_mask"].double()
        self.shapes.append(tuple(mask.shape))
        summed = (self.table[features["input_ids"]] * mask[..., None]).sum(1)
        return {"sentence_embedding": summed / mask.sum(1, keepdim=True)}


def tokens(lengths, left=False):
    width = max(lengths)
    rows = torch.arange(len(lengths))[:, None]
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    mask = mask.flip(1) if left else mask
    return {"input_ids": ((rows * 7 + torch.arange(width) * 3) % 19 + 1) * mask, "attention_mask": mask.long()}


@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
def test_sorting_by_length_changes_the_work_and_not_the_loss(left):
    batch_columns = [tokens(lengths, left) for lengths in ([2, 9], [3, 12], [1, 8])]
    teacher = torch.tensor([[0.3, -1.0], [2.0, 0.1]], dtype=torch.float64)
    model = Lengths()
    parts = RUIEDistillationLoss(model, temperature=0.1, weight=0.3, chunk_size=3)(batch_columns, teacher)
    embedded = [model(column)["sentence_embedding"] for column in batch_columns]
    unit = [torch.nn.functional.normalize(vectors, dim=-1) for vectors in embedded]
    expected = distillation_loss(unit[0], torch.stack(unit[1:], 1), teacher, 0.1, 0.3)
    assert sum(parts.values()).item() == pytest.approx(expected.total.item())
    assert model.shapes[:-3] == ([(2, 9), (2, 12), (2, 8)] if left else [(3, 3), (3, 12)])
    sum(parts.values()).backward()
    assert torch.isfinite(model.table.grad).all()

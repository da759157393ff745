"""Run by torchrun: each process takes its part of a batch, and writes the loss and the gradients it ends with."""

import json
import os
import sys
from pathlib import Path

import torch
from ruie_training.models.losses import RUIEDistillationLoss
from sentence_transformers import SentenceTransformer


def loss_and_gradients(folder, batch, teacher, rank=0, world=1):
    """The loss on this process's rows, and the gradients after they are averaged over the processes."""
    model = SentenceTransformer(folder, device="cpu").train()
    rows = slice(rank * len(teacher) // world, (rank + 1) * len(teacher) // world)
    columns = [model.preprocess(column[rows]) for column in batch]
    inner = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True) if world > 1 else model
    parts = RUIEDistillationLoss(inner, temperature=0.05, chunk_size=5)(columns, torch.tensor(teacher[rows]))
    total = sum(parts.values())
    total.backward()
    named = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    sums = {name: [gradient.sum().item(), gradient.abs().sum().item()] for name, gradient in sorted(named.items())}
    return {"loss": total.item(), "gradients": sums}


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group("gloo")
    found = loss_and_gradients(given["folder"], given["batch"], given["teacher"], rank, world)
    Path(f"{sys.argv[1]}.{rank}").write_text(json.dumps(found), "utf-8")
    torch.distributed.destroy_process_group()

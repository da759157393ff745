"""Trains the bi-encoder: BM25 candidates, LLM preferences, a reward model, distillation, export."""

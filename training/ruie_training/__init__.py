"""How the bi-encoder is made: BM25 candidates, LLM preferences, a reward model, distillation, export."""

"""Bi-encoder and cross-encoder, their losses and trainers, small models from scratch, export and the model card."""

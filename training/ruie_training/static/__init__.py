"""Encoders of static token vectors from training texts only."""

"""Encoders of static token vectors, made from nothing but training texts."""

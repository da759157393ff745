"""Evaluates retrieval by the labels of demonstrations, and by the likelihood of the gold answer."""

"""Retrieval measured by the labels of what is retrieved, and by the likelihood of the gold answer."""

"""Data sets, and the pools, queries, candidates, groups and texts drawn from them."""

"""Data sets and what is drawn from them: the catalog, pools, queries, candidates, groups and their texts."""

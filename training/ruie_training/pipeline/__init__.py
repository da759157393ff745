"""A run: its stages, its records, and its plan."""

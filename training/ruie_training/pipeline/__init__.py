"""A run: its stages, what it has done already, and what each stage would do."""

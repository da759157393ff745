"""Mining: for every query the demonstrations that may suit it."""

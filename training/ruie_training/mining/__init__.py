"""Mining: selects candidate demonstrations for every query."""

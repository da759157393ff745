"""The commands that training adds to `ruie`."""

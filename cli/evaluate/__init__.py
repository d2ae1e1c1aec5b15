"""v2l evaluate: one command, one file."""

"""v2l common, difference and story: one command, one file."""

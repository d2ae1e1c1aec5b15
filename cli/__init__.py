"""words typed in a terminal ──► the library: one file for each command, which imports what it needs."""

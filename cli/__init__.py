"""words typed in a terminal ──► the library: one verb, one file; heavy packages are imported only when a verb runs."""

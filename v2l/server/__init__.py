"""HTTP requests ──► the tasks of a pipeline, and their answers."""

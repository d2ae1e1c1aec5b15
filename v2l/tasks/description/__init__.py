"""words of an image ──► a caption, or the answer to a question."""

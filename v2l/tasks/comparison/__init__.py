"""words and vectors of several images ──► what they share, how they differ, a story about them."""

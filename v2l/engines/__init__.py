"""independent items of long work ──► their results, on one machine or on many."""

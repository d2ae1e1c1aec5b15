"""very many images ──► shards of their tokens, on one machine or on a Ray cluster."""

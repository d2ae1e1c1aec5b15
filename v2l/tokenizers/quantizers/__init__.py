"""features ──► codebook indices: frozen words, learned codebooks, and moving averages."""

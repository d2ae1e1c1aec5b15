"""features ──► codebook indices: frozen words, learned codebooks, moving averages."""

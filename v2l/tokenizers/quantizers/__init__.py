"""features ──► codebook indices: frozen words, learned codebooks, moving averages; shared by all tokenizers."""

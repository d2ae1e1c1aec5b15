"""LLM vocabulary ──► codebooks, once, before training."""

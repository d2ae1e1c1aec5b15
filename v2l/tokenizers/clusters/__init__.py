"""image ──► words of clusters of patches: SeTok (arXiv 2406.05127)."""

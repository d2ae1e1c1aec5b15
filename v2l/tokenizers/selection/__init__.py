"""image ──► words of the patches that say something: LaVIT (arXiv 2309.04669)."""

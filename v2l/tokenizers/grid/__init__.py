"""image ⇄ a grid of local words and a set of global words: the V2L Tokenizer (arXiv 2403.07874)."""

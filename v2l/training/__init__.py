"""images ──► trained tokenizers and adapters: one loop, one recipe for each of them."""

"""images ──► a trained tokenizer."""

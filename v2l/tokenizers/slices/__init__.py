"""Slices of an image: the tokenizer of LLaVA-UHD's layout."""

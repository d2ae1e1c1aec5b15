"""Regions of an image: the tokenizer of Groma's layout."""

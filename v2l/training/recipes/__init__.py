"""v2l/training/recipes: what is trained, one recipe for each tokenizer and each adapter."""

"""image ⇄ visual tokens: the contract, its registry, and one folder for each tokenizer."""

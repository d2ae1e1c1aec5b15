"""the official release's files ──► a tokenizer directory of ours."""

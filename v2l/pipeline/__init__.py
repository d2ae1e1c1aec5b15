"""a tokenizer and a frozen LLM that share one vocabulary ──► what every task starts from."""

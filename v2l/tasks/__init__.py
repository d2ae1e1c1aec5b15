"""What images are for: classification, description, restoration, each a folder, each with the LLM frozen."""

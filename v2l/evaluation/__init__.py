"""tasks and tokenizers ──► figures: seeded, with intervals, beside trivial baselines."""

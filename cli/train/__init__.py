"""v2l train and v2l train-lora: one command, one file."""

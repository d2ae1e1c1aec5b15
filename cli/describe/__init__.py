"""v2l caption, vqa and prompt: one command, one file."""

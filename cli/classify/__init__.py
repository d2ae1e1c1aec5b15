"""v2l fewshot-classify: the command, and the options that it shares with `v2l evaluate fewshot`."""

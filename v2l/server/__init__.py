"""images and texts ──► answers over HTTP: a server that speaks OpenAI's protocol."""

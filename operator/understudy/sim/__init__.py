"""A simulated OpenAI-compatible engine, for tests and rehearsals without hardware."""

"""A simulated OpenAI-compatible engine: what tests and rehearsals run where a GPU would be."""

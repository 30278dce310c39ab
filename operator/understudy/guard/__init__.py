"""Guardrails: what an answer may not say, found in the stream before it is released. Pure: text in, decisions out."""

"""Mutation testing of the rooms that decide: small changes of the code, each of which some test must notice."""

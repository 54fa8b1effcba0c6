"""Vectors from OpenAI and from servers that speak its API."""

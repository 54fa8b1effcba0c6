"""Vectors from OpenAI's API, or a server that speaks it; no text is paid for twice."""

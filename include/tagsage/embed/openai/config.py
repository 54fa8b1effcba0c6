"""What is asked of the API, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from tagsage.embed.openai.tokens import MAX_REQUEST_TEXTS

# https://developers.openai.com/api/docs/guides/embeddings
MODEL_DIMENSIONS = {
    "text-embedding-ada-002": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
}


@dataclass(frozen=True)
class OpenAiConfig:
    """How texts become vectors.

    Attributes
    ----------
    model : str
        The model's name, as the server knows it.
    dimensions : int
        Numbers in a vector; 0 stands for as many as the model has, and is not sent.
    encoding : str
        ``base64``, ``float``, or ``auto``: base64 from OpenAI itself, float from other servers,
        which may not know the former.
    in_flight : int
        Requests at the same time.
    request_texts : int
        Most texts in a request.
    timeout_s : float
        Time limit of one request, in seconds.
    attempts : int
        How often a request may fail before it is split in two.
    patience_s : float
        How long a server that is away, too busy or over its rate limit is waited for, in seconds
        without any success.
    """

    model: str = "text-embedding-ada-002"
    dimensions: int = 0
    encoding: str = "auto"
    in_flight: int = 4
    request_texts: int = MAX_REQUEST_TEXTS
    timeout_s: float = 120.0
    attempts: int = 6
    patience_s: float = 900.0

    @property
    def model_id(self) -> str:
        """The name of the vectors: the model's, and the dimensions where they were chosen."""
        return f"{self.model}-{self.dimensions}" if self.dimensions else self.model

    @property
    def known_dimensions(self) -> int | None:
        """How many numbers a vector will have; None for a model that must be asked."""
        return self.dimensions or MODEL_DIMENSIONS.get(self.model)

    def encoding_at(self, *, official: bool) -> str:
        """Return ``base64`` or ``float``: what to ask of a server."""
        if self.encoding != "auto":
            return self.encoding
        return "base64" if official else "float"


@dataclass(frozen=True)
class Ceiling:
    """What one run may spend at most.

    Attributes
    ----------
    dollars : float
        US dollars.
    tokens : int
        Tokens sent.
    """

    dollars: float
    tokens: int

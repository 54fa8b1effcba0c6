"""How texts become vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section

EmbedderName = Literal["lsa", "e5", "openai", "precomputed"]


class EmbedSettings(Section):
    """The embedders' settings; key and address of a server come from the environment."""

    title = "Vectors"

    embedder: EmbedderName = Field(
        "lsa",
        description="What turns text into vectors; precomputed: they are in `vectors`.",
    )
    vectors: str = Field(
        "", description="CSV of vectors: URL, JSON list (embedder=precomputed); .gz accepted."
    )
    lsa_dimensions: PositiveInt = Field(256, description="Numbers in an LSA vector.")
    lsa_sample: PositiveInt = Field(200_000, description="Most texts that LSA is fitted on.")
    lsa_refit_share: float = Field(
        0.1, ge=0, le=1, description="Share of new texts from which on LSA is fitted again."
    )
    openai_model: str = Field(
        "text-embedding-ada-002", min_length=1, description="Model of the embedder openai."
    )
    openai_dimensions: int = Field(
        0, ge=0, description="Numbers in a vector (text-embedding-3); 0: as many as the model has."
    )
    openai_mode: Literal["online", "batch"] = Field(
        "online", description="batch: half the price, answers within 24 hours."
    )
    openai_max_dollars: float = Field(
        5.0, ge=0, allow_inf_nan=False, description="What a run may spend at most."
    )
    openai_prices: str = Field(
        "",
        pattern=r"^([^=,\s]+=[0-9]{1,6}(\.[0-9]{1,6})?(,[^=,\s]+=[0-9]{1,6}(\.[0-9]{1,6})?)*)?$",
        description="Corrects prices: model=dollars per million tokens, comma-separated.",
    )
    openai_request_texts: int = Field(2048, ge=1, le=2048, description="Most texts per request.")
    openai_in_flight: int = Field(4, ge=1, le=64, description="Requests at the same time.")
    openai_timeout_s: float = Field(
        300, gt=0, allow_inf_nan=False, description="How long one request may take."
    )
    openai_poll_s: float = Field(
        60, gt=0, allow_inf_nan=False, description="Between two looks at a batch."
    )
    vector_cache: str = Field(
        "", description="File of kept vectors (e5, openai); empty: vectors.db in the workspace."
    )

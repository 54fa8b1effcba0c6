"""How texts become vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section, Share


class VectorsSettings(Section):
    """The embedders' settings; the key and the server's address are none."""

    title = "Vectors"

    lsa_dimensions: PositiveInt = Field(256, description="Numbers in an LSA vector.")
    lsa_max_terms: PositiveInt = Field(50_000, description="Vocabulary limit of TF-IDF.")
    lsa_refit_share: Share = Field(
        0.1, description="Refit LSA when more than this share of texts is new since its fit."
    )
    # The key and the server's address are no settings: OPENAI_API_KEY, OPENAI_BASE_URL.
    openai_model: str = Field(
        "text-embedding-ada-002", min_length=1, description="Model of the embedder openai."
    )
    openai_dimensions: int = Field(
        0, ge=0, description="Numbers in a vector (text-embedding-3); 0: as many as the model has."
    )
    openai_encoding: Literal["auto", "base64", "float"] = Field(
        "auto", description="How vectors travel; auto: base64 from OpenAI, else float."
    )
    openai_mode: Literal["online", "batch"] = Field(
        "online", description="batch: half the price, answers within 24 hours."
    )
    openai_max_dollars: float = Field(
        5.0, ge=0, allow_inf_nan=False, description="What a run may spend at most."
    )
    openai_max_tokens: int = Field(
        50_000_000, ge=0, description="How many tokens a run may send at most."
    )
    openai_prices: str = Field(
        "",
        pattern=r"^([^=,\s]+=[0-9]{1,6}(\.[0-9]{1,6})?(,[^=,\s]+=[0-9]{1,6}(\.[0-9]{1,6})?)*)?$",
        description="Corrects prices: model=dollars a million tokens, comma-separated.",
    )
    openai_request_texts: int = Field(2048, ge=1, le=2048, description="Most texts a request.")
    openai_in_flight: int = Field(4, ge=1, le=64, description="Requests at the same time.")
    openai_timeout_s: float = Field(
        120, gt=0, allow_inf_nan=False, description="Time limit of one request."
    )
    openai_attempts: PositiveInt = Field(
        6, description="Times that a request fails before it is split."
    )
    openai_patience_s: float = Field(
        900,
        gt=0,
        allow_inf_nan=False,
        description="How long a silent or full server is waited for.",
    )
    openai_poll_s: float = Field(
        60, gt=0, allow_inf_nan=False, description="Between two looks at a batch."
    )
    openai_cache: str = Field(
        "", description="Folder of what was paid for; empty: vectors/openai in the workspace."
    )

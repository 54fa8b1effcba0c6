"""How lists become features: as in the study, and beyond it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section


class GraphSettings(Section):
    """The study's projection, sample and GraphSAGE, with its settings; and what goes beyond."""

    title = "Graph"

    similarity_top_k: PositiveInt = Field(2000, description="Neighbours kept per article.")
    similarity_max_list_size: int = Field(
        0, ge=0, description="Lists longer than this are left out of the projection; 0: none is."
    )
    sample_ratio: float = Field(0.20, gt=0, le=1, description="Share of articles sampled (RWR).")
    graphsage_dimensions: PositiveInt = Field(256, description="Numbers in an embedding.")
    graphsage_sample_sizes: str = Field(
        "10,10",
        pattern=r"^[1-9][0-9]*(,[1-9][0-9]*)*$",
        description="Neighbours per layer; last: direct ones.",
    )
    graphsage_search_depth: PositiveInt = Field(15, description="Longest walk to a positive.")
    graphsage_epochs: PositiveInt = Field(20, description="Epochs.")
    graphsage_learning_rate: float = Field(
        1e-4, gt=0, allow_inf_nan=False, description="Adam's learning rate."
    )
    graphsage_batch_size: PositiveInt = Field(10, description="Articles per batch.")
    graphsage_activation: Literal["relu", "sigmoid"] = Field("relu", description="Activation.")
    graphsage_aggregator: Literal["mean", "pool"] = Field("mean", description="Aggregator.")
    fastrp_dimensions: PositiveInt = Field(512, description="Numbers in a FastRP embedding.")
    lists_hops: Annotated[int, Field(ge=1, le=4)] = Field(
        2, description="Hops of propagation over lists (article <- lists <- articles)."
    )
    memberships_dimensions: PositiveInt = Field(
        256, description="Numbers in an embedding by the SVD of the memberships."
    )
    labels_prior_weight: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="As how many labelled articles a tag's overall share counts in a list.",
    )
    authors_prior_weight: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="As labels_prior_weight, of an author's articles (feature sets with authors).",
    )

    def sample_sizes(self) -> tuple[int, ...]:
        """Return GraphSAGE's sample sizes, one per layer; the last is for direct neighbours."""
        return tuple(int(size) for size in self.graphsage_sample_sizes.split(","))

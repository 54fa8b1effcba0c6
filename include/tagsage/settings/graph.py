"""How lists become features: as in the study, and beyond it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section, Share


class StudyGraphSettings(Section):
    """The settings of the study's projection, sample and GraphSAGE."""

    title = "Graph: the study's settings"

    similarity_top_k: PositiveInt = Field(2000, description="Neighbours kept an article.")
    similarity_cutoff: Share = Field(1e-42, description="Jaccard below this is dropped.")
    similarity_degree_cutoff: PositiveInt = Field(1, description="Fewest lists to take part.")
    similarity_max_list_size: int = Field(
        0, ge=0, description="Lists longer than this are left out of the projection; 0: none is."
    )
    sample_ratio: float = Field(0.20, gt=0, le=1, description="Share of articles sampled (RWR).")
    sample_restart_probability: float = Field(0.1, gt=0, lt=1, description="RWR restart.")
    graphsage_dimensions: PositiveInt = Field(256, description="Numbers in an embedding.")
    graphsage_sample_sizes: str = Field(
        "10,10",
        pattern=r"^[1-9][0-9]*(,[1-9][0-9]*)*$",
        description="Neighbours a layer; last: direct ones.",
    )
    graphsage_search_depth: PositiveInt = Field(15, description="Longest walk to a positive.")
    graphsage_epochs: PositiveInt = Field(20, description="Epochs.")
    graphsage_max_iterations: PositiveInt = Field(10, description="Iterations an epoch.")
    graphsage_learning_rate: float = Field(
        1e-4, gt=0, allow_inf_nan=False, description="Adam's learning rate."
    )
    graphsage_batch_size: PositiveInt = Field(10, description="Articles a batch.")
    graphsage_activation: Literal["relu", "sigmoid"] = Field("relu", description="Activation.")
    graphsage_aggregator: Literal["mean", "pool"] = Field("mean", description="Aggregator.")
    graphsage_negative_weight: float = Field(
        20.0, ge=0, allow_inf_nan=False, description="Weight of negatives."
    )
    graphsage_tolerance: float = Field(
        1e-4, ge=0, allow_inf_nan=False, description="Loss change that ends training."
    )
    graphsage_penalty_l2: float = Field(0.0, ge=0, allow_inf_nan=False, description="L2 penalty.")


class GraphSettings(Section):
    """Propagation over lists and labels, memberships, FastRP."""

    title = "Graph: beyond the study"

    lists_hops: Annotated[int, Field(ge=1, le=4)] = Field(
        2, description="Hops of propagation over lists (article <- lists <- articles)."
    )
    lists_size_discount: float = Field(
        0.0, ge=0, le=1, description="A list of n articles weighs n^-discount; 0: all alike."
    )
    memberships_dimensions: PositiveInt = Field(
        256, description="Numbers in an embedding by the SVD of the memberships."
    )
    memberships_rarity_power: float = Field(
        0.5, ge=0, le=10, description="A list of s of n articles counts log(n/s)^power."
    )
    fastrp_dimensions: PositiveInt = Field(512, description="Numbers in a FastRP embedding.")
    fastrp_iteration_weights: str = Field(
        "1,1",
        pattern=r"^-?[0-9]{1,6}(\.[0-9]{1,6})?(,-?[0-9]{1,6}(\.[0-9]{1,6})?)*$",
        description="Weights of the 1st, 2nd, … average over neighbours.",
    )
    fastrp_self_influence: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of an article's own vector."
    )
    fastrp_property_ratio: Share = Field(
        1.0, description="Share of the dimensions made of vectors; the rest is random by article."
    )
    fastrp_normalization_strength: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="Power of the degree that scales the random part; below 0: hubs count less.",
    )

    labels_prior_weight: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="As how many labelled articles a tag's overall share counts in a list.",
    )
    labels_size_discount: float = Field(
        0.0, ge=0, le=1, description="As lists_size_discount, where labels are propagated."
    )

    authors_prior_weight: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="As labels_prior_weight, of an author's articles (feature sets with authors).",
    )

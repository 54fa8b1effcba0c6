"""Every default in one place.

A setting comes, in this order, from: ``--set key=value`` on the command line or the trigger form
in Airflow; the environment (``TAGSAGE_KEY``); the default below. Unknown names and impossible
values are refused before anything starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tagsage.errors import FinalError

ENV_PREFIX = "TAGSAGE_"

# What a feature set is made of, joined by +.
BLOCKS = ("text", "graphsage", "fastrp", "lists", "memberships", "labels", "authors")
CLASSIFIERS = ("label_powerset", "ovr_logistic", "classifier_chain", "mlp", "mlknn", "boosting")

DEFAULT_CANDIDATES = ",".join((
    "text:label_powerset",  # the study's two models
    "text+graphsage:label_powerset",
    "text:ovr_logistic",
    "text:mlp",
    "text+graphsage:mlp",
    "text+lists:mlp",
    "text+lists+labels+authors:mlp",
    "text+lists+memberships+labels+authors:mlp",
))

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """The settings of one run; immutable.

    Raises
    ------
    FinalError
        From :meth:`resolve`, when a name is unknown or a value impossible.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    # -- where things are ------------------------------------------------------------------
    workspace: str = Field(
        "workspace", min_length=1, description="Folder (or fsspec URL) of the run's files."
    )
    corpus: Literal["bundled", "csv", "medium", "harvest"] = Field(
        "bundled",
        description="bundled: data/; csv: `articles` and `lists`; medium: the study's; harvest: "
        "what was harvested.",
    )
    articles: str = Field("", description="CSV of articles (corpus=csv); .gz accepted.")
    lists: str = Field("", description="CSV of memberships (corpus=csv); .gz accepted.")
    store: Literal["sqlite", "neo4j"] = Field("sqlite", description="Where articles are kept.")
    sqlite_path: str = Field("", description="SQLite file; empty: tagsage.db in the workspace.")
    engine: Literal["local", "gds"] = Field(
        "local", description="What computes the graph; gds needs store=neo4j."
    )
    embedder: Literal["lsa", "openai", "none"] = Field(
        "lsa", description="What turns text into vectors; none: take `vectors`."
    )
    vectors: str = Field("", description="CSV of given vectors: URL, JSON list (embedder=none).")
    mlflow_tracking_uri: str = Field(
        "", description="Empty: the variable MLFLOW_TRACKING_URI, else SQLite in the workspace."
    )
    mlflow_experiment: str = Field("tagsage", min_length=1, description="MLflow experiment.")
    registered_model: str = Field("tagsage", min_length=1, description="Name in the registry.")

    schedule: str = Field(
        "0 2 * * *",
        pattern=r"^(\S+( \S+){4}|@[a-z]+|never)$",
        description="When Airflow starts the nightly run: cron, UTC; never: only by hand.",
    )

    # -- corpus ----------------------------------------------------------------------------
    max_rejected_share: Share = Field(0.05, description="More rejected rows than this: stop.")
    medium_base_url: str = Field(
        "https://raw.githubusercontent.com/tomasonjo/blog-datasets/main/medium",
        description="Where the study's CSV files are published.",
    )
    download_max_mb: PositiveInt = Field(2000, description="A download larger than this stops.")
    download_timeout_s: PositiveInt = Field(600, description="Time limit of one download.")

    # -- harvest ---------------------------------------------------------------------------
    harvest_seeds: str = Field(
        "",
        description="Lists and feeds to harvest: addresses separated by blanks, or a file with "
        "one a line.",
    )
    harvest_consent: bool = Field(
        False, description="You may fetch pages of lists and articles (docs/harvest.md)."
    )
    harvest_contact: str = Field(
        "", description="Mail address or web page, told to every host: whom to ask about you."
    )
    harvest_delay_s: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="Between two requests to one host."
    )
    harvest_articles: Literal["missing", "always", "never"] = Field(
        "missing",
        description="Fetch an article's own page; missing: if lists and feeds leave fields open.",
    )
    harvest_max_requests: PositiveInt = Field(2000, description="Requests a run.")
    harvest_max_minutes: float = Field(
        60.0, gt=0, le=720, allow_inf_nan=False, description="Minutes a run."
    )
    harvest_max_mb: PositiveInt = Field(1000, description="Megabytes received a run.")
    harvest_timeout_s: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Time limit of one request, to its last byte."
    )
    harvest_max_page_mb: PositiveInt = Field(10, description="Largest page, unpacked too.")
    harvest_attempts: PositiveInt = Field(
        6, description="Times that a request fails before it is given up."
    )
    harvest_list_days: float = Field(
        7.0, ge=0, allow_inf_nan=False, description="Age at which a list is read again."
    )
    harvest_article_days: float = Field(
        90.0, ge=0, allow_inf_nan=False, description="Age at which an article's page is read again."
    )
    harvest_feed_hours: float = Field(
        20.0, ge=0, allow_inf_nan=False, description="Age at which a feed is read again."
    )
    harvest_pause_hours: float = Field(
        12.0,
        ge=0,
        allow_inf_nan=False,
        description="How long a host that refused us is left alone.",
    )
    harvest_keep_pages_days: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="How long raw pages are kept for --replay."
    )
    harvest_hosts: str = Field(
        "", description="Further hosts that redirects may lead to, separated by blanks."
    )
    harvest_folder: str = Field(
        "", description="Folder of what was harvested; empty: harvest in the workspace."
    )
    harvest_schedule: str = Field(
        "30 */6 * * *",
        pattern=r"^(\S+( \S+){4}|@[a-z]+|never)$",
        description="When Airflow harvests, if there are seeds: cron, UTC; never: only by hand.",
    )

    # -- vectors ---------------------------------------------------------------------------
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

    # -- graph: the study's settings -------------------------------------------------------
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
    # -- graph: beyond the study -----------------------------------------------------------
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

    # -- learn -----------------------------------------------------------------------------
    min_tag_articles: int = Field(100, ge=1, description="A target tag is on more than this many.")
    candidates: str = Field(
        DEFAULT_CANDIDATES, description="Comma-separated feature_set:classifier."
    )
    questions: str = Field(
        "cold_start,inductive,time",
        pattern=r"^((cold_start|inductive|time)(,(cold_start|inductive|time)){0,2})?$",
        description="What else the best two candidates are asked, comma-separated.",
    )
    splits: int = Field(
        1, ge=1, le=100, description="On so many splits the best two candidates are compared."
    )
    learning_shares: str = Field(
        "",
        pattern=r"^(0?\.[0-9]{1,4}(,0?\.[0-9]{1,4})*)?$",
        description="Shares of the training part to learn from besides: a learning curve.",
    )
    rare_tags: bool = Field(
        False, description="Score tags on too few articles to be learned, too (rare_tags.csv)."
    )
    rare_tags_prior_weight: float = Field(
        3.0, ge=0, allow_inf_nan=False, description="As labels_prior_weight, for rare tags."
    )
    bootstrap_resamples: int = Field(
        2000, ge=100, le=100_000, description="Resamples of the test articles for intervals."
    )
    candidate_max_minutes: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="Candidates that would take longer: left out.",
    )
    candidate_max_gb: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="Candidates that would take more memory: left out.",
    )
    search_trials: int = Field(
        0, ge=0, le=1000, description="Hyper-parameters tried a candidate; 0: the defaults."
    )
    search_max_minutes: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="No trial begins after so long a search."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of tagged articles held out.")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of everything random.")
    top_tags: PositiveInt = Field(20, description="Best tags kept a predicted article.")

    # -- how tags are assigned -------------------------------------------------------------
    assign_tag_share: Share = Field(
        0.7, description="0: one threshold for all tags; 1: as near each tag's own as it can carry."
    )
    assign_top_k: int = Field(0, ge=0, description="Most tags an article; 0: no limit.")
    assign_min_tags: int = Field(
        0, ge=0, description="Fewest tags an article: the likeliest, even below their thresholds."
    )

    # -- promotion -------------------------------------------------------------------------
    promote: bool = Field(True, description="Let a better challenger become champion.")
    promote_margin: float = Field(
        0.0, ge=-1, le=1, description="Micro-F1 the challenger must gain over the champion."
    )

    @classmethod
    def resolve(cls, overrides: Mapping[str, Any] | None = None) -> Self:
        """Build the settings from overrides, environment and defaults.

        Parameters
        ----------
        overrides : mapping, optional
            Values by setting name; strings are converted to the setting's type.

        Returns
        -------
        Settings
            The resolved settings.

        Raises
        ------
        FinalError
            For an unknown name or an impossible value; lists what is allowed.
        """
        # A form that leaves a field empty sends null: the same as not naming the setting.
        overrides = {name: value for name, value in (overrides or {}).items() if value is not None}
        if overrides.get("articles") or overrides.get("lists"):
            overrides.setdefault("corpus", "csv")
        names = sorted(cls.model_fields)
        from_env = {
            key[len(ENV_PREFIX) :].lower(): key for key in os.environ if key.startswith(ENV_PREFIX)
        }
        for name in [*overrides, *from_env]:
            if name not in cls.model_fields:
                close = get_close_matches(name, names, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                shown = from_env.get(name, name)
                msg = f"Unknown setting {shown!r}{hint}; allowed are: {', '.join(names)}."
                raise FinalError(msg)
        in_env = {name: os.environ[key] for name, key in from_env.items()}
        # Files named on the command line outweigh a corpus from the environment.
        named = overrides if "corpus" in in_env else in_env | overrides
        if named.get("articles") or named.get("lists"):
            overrides.setdefault("corpus", "csv")
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise FinalError(_sentence(cls, error)) from None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.parsed_candidates()
        if urlsplit(self.mlflow_tracking_uri).password is not None:
            # Settings are shown in forms, logs, MLflow and the report.
            raise ValueError(
                "mlflow_tracking_uri holds a password, and settings are shown to people; put the "
                "URI into the environment variable MLFLOW_TRACKING_URI instead"
            )
        if self.engine == "gds" and self.store != "neo4j":
            raise ValueError("engine=gds computes in the Neo4j server, so it needs store=neo4j")
        if self.corpus == "csv" and not (self.articles and self.lists):
            raise ValueError("corpus=csv needs both `articles` and `lists`")
        if self.corpus != "csv" and (self.articles or self.lists):
            raise ValueError(f"`articles` and `lists` need corpus=csv, not corpus={self.corpus}")
        if self.embedder == "none" and not self.vectors:
            raise ValueError("embedder=none needs `vectors`, a CSV of URL and JSON list")
        if self.embedder != "none" and self.vectors:
            raise ValueError("`vectors` needs embedder=none")
        return self

    @classmethod
    def form_field(cls, name: str) -> dict[str, Any]:
        """Return the JSON schema of one setting, without its default: what a form needs."""
        schema: dict[str, Any] = cls.model_json_schema()["properties"][name]
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]
        if schema["type"] == "string" and "minLength" not in schema and "enum" not in schema:
            # A form may leave it empty, which some forms send as null.
            schema["type"] = (
                ["string", "null"] if cls.model_fields[name].default == "" else "string"
            )
        return {key: value for key, value in schema.items() if key not in {"default"}}

    def parsed_candidates(self) -> list[tuple[str, str]]:
        """Return the candidates as (feature set, classifier) pairs, in the order given.

        Raises
        ------
        ValueError
            When a candidate is malformed, unknown or given twice.
        """
        pairs: list[tuple[str, str]] = []
        for item in self.candidates.split(","):
            feature_set, separator, classifier = item.strip().partition(":")
            blocks = feature_set.split("+")
            known = set(blocks) <= set(BLOCKS) and len(set(blocks)) == len(blocks)
            if not separator or not known or classifier not in CLASSIFIERS:
                raise ValueError(
                    f"candidate {item.strip()!r} is not feature_set:classifier with a feature_set "
                    f"of some of {', '.join(BLOCKS)}, each once, joined by +, and classifier in "
                    f"{', '.join(CLASSIFIERS)}"
                )
            if (feature_set, classifier) in pairs:
                raise ValueError(f"candidate {item.strip()!r} is given twice")
            pairs.append((feature_set, classifier))
        return pairs

    def asked_questions(self) -> list[str]:
        """Return what else the best two candidates are asked, each once, in a fixed order."""
        return [name for name in ("cold_start", "inductive", "time") if name in self.questions]

    def asked_shares(self) -> list[float]:
        """Return the shares of the learning curve, rising, each once."""
        shares = {float(share) for share in self.learning_shares.split(",") if share}
        return sorted(shares - {0.0})

    def sample_sizes(self) -> tuple[int, ...]:
        """Return GraphSAGE's sample sizes, one a layer; the last is for direct neighbours."""
        return tuple(int(size) for size in self.graphsage_sample_sizes.split(","))

    def iteration_weights(self) -> tuple[float, ...]:
        """Return FastRP's weights of the 1st, 2nd, … average over neighbours."""
        return tuple(float(weight) for weight in self.fastrp_iteration_weights.split(","))


def _sentence(cls: type[Settings], error: ValidationError) -> str:
    """Word a validation error as: what, whose, got, allowed."""
    parts = []
    for detail in error.errors():
        message = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:
            parts.append(message)
            continue
        name = str(detail["loc"][0])
        about = cls.model_fields[name].description if name in cls.model_fields else ""
        parts.append(f"{name}={detail['input']!r}: {message} ({about})")
    return f"Impossible settings: {'; '.join(parts)}"

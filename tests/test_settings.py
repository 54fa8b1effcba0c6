import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch):
    for key in os.environ:
        if key.upper().startswith("TAGSAGE_"):
            monkeypatch.delenv(key)


def test_overrides_outweigh_the_environment_and_that_outweighs_defaults(monkeypatch):
    monkeypatch.setenv("TAGSAGE_SEED", "7")
    monkeypatch.setenv("TAGSAGE_TOP_TAGS", "5")
    settings = Settings.resolve({"seed": "9", "promote": None})
    assert (settings.seed, settings.top_tags, settings.promote) == (9, 5, "better")


def test_an_unknown_override_is_refused_with_a_likely_name_and_all_allowed_ones():
    allowed = ", ".join(sorted(Settings.model_fields))
    sentence = (
        "Unknown setting 'min_tag_article' (did you mean min_tag_articles?); "
        f"allowed are: {allowed}."
    )
    with pytest.raises(TagsageError, match=f"^{re.escape(sentence)}$"):
        Settings.resolve({"min_tag_article": 1})


def test_an_unknown_variable_is_refused_by_its_own_name(monkeypatch):
    monkeypatch.setenv("TAGSAGE_SEEED", "1")
    with pytest.raises(TagsageError, match=r"Unknown setting 'TAGSAGE_SEEED' \(did you mean seed"):
        Settings.resolve()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "-1"),
        ("seed", str(2**31)),
        ("test_share", "0"),
        ("test_share", "nan"),
        ("max_rejected_share", "1.01"),
        ("lsa_dimensions", "0"),
        ("labels_prior_weight", "inf"),
        ("graphsage_sample_sizes", "10,"),
        ("graphsage_learning_rate", "inf"),
        ("store", "mongodb"),
        ("workspace", ""),
        ("mlflow_url", "sqlite:///mlflow.db"),
    ],
)
def test_an_impossible_value_is_refused_in_a_sentence_that_names_it(name, value):
    sentence = rf"^Impossible settings: {name}={value!r}: .+ \(.+\)$"
    with pytest.raises(TagsageError, match=sentence) as caught:
        Settings.resolve({name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "environment"),
    [
        ({"articles": "a.csv", "lists": "l.csv"}, {}),
        ({}, {"ARTICLES": "a.csv", "LISTS": "l.csv"}),
        ({"articles": "a.csv", "lists": "l.csv"}, {"CORPUS": "bundled"}),
    ],
    ids=["command line", "environment", "command line outweighs a corpus in the environment"],
)
def test_files_make_the_corpus_csv(monkeypatch, overrides, environment):
    for name, value in environment.items():
        monkeypatch.setenv(f"TAGSAGE_{name}", value)
    assert Settings.resolve(overrides).corpus == "csv"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"articles": "a.csv"}, "corpus=csv needs both `articles` and `lists`"),
        ({"corpus": "csv"}, "corpus=csv needs both `articles` and `lists`"),
        (
            {"articles": "a", "lists": "l", "corpus": "medium"},
            "`articles` and `lists` need corpus=csv, not corpus=medium",
        ),
        (
            {"embedder": "precomputed"},
            "embedder=precomputed needs `vectors`, a CSV of URL and JSON list",
        ),
        ({"vectors": "v.csv"}, "`vectors` needs embedder=precomputed"),
        ({"engine": "gds"}, "engine=gds computes in the Neo4j server, so it needs store=neo4j"),
        ({"candidates": "text:mlp,lists:mlp,text:mlp"}, "candidate 'text:mlp' is given twice"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, message):
    with pytest.raises(TagsageError, match=f"^Impossible settings: {re.escape(message)}"):
        Settings.resolve(overrides)


def test_candidates_are_parsed_in_order_and_spaces_do_not_matter():
    settings = Settings.resolve({"candidates": " text:mlp , lists:mlp"})
    assert settings.parsed_candidates() == [("text", "mlp"), ("lists", "mlp")]


@pytest.mark.parametrize("item", ["", "text", "text:", ":mlp", "text+:mlp", "+text:mlp"])
def test_a_malformed_candidate_is_refused_with_the_form_it_should_have(item):
    sentence = f"candidate {item!r} is not feature_set:classifier, with a feature_set of blocks"
    with pytest.raises(TagsageError, match=re.escape(sentence)):
        Settings.resolve({"candidates": f"text:ovr_logistic,{item}"})


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=8)))
def test_any_strings_give_settings_or_one_sentence(overrides):
    try:
        settings = Settings.resolve(overrides)
    except TagsageError:
        return
    # What was accepted can be used.
    assert settings.parsed_candidates()
    assert min(settings.sample_sizes()) >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mlflow_tracking_uri", "postgresql://ann:hush@db.example/mlflow"),
        ("mlflow_url", "https://ann:hush@mlflow.example"),
    ],
)
def test_an_address_with_a_password_is_refused_without_showing_it(name, value):
    with pytest.raises(TagsageError, match=f"{name} holds a") as caught:
        Settings.resolve({name: value})
    assert "hush" not in str(caught.value)


def test_notifiers_are_shown_as_stars():
    settings = Settings.resolve({"notify_on_failure": '{"arguments": {"token": "hush"}}'})
    assert "hush" not in f"{settings!r} {settings.model_dump(mode='json')}"
    assert "hush" in settings.notify_on_failure.get_secret_value()
    # A token of a run, which has the stars, can be read.
    Settings.model_validate(settings.model_dump(mode="json"))

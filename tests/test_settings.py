import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tagsage.errors import TagsageError
from tagsage.settings import DEFAULT_CANDIDATES, Settings


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch):
    for key in os.environ:
        if key.upper().startswith("TAGSAGE_"):
            monkeypatch.delenv(key)


def test_without_anything_given_the_defaults_are_the_studys():
    settings = Settings.resolve()
    study = {
        "similarity_top_k": 2000,
        "sample_ratio": 0.2,
        "graphsage_dimensions": 256,
        "graphsage_search_depth": 15,
        "graphsage_epochs": 20,
        "graphsage_learning_rate": 1e-4,
        "graphsage_batch_size": 10,
        "graphsage_activation": "relu",
        "graphsage_aggregator": "mean",
        "min_tag_articles": 100,
        "test_share": 0.2,
    }
    assert {name: getattr(settings, name) for name in study} == study
    assert settings.sample_sizes() == (10, 10)


def test_overrides_outweigh_the_environment_and_that_outweighs_defaults(monkeypatch):
    monkeypatch.setenv("TAGSAGE_SEED", "7")
    monkeypatch.setenv("TAGSAGE_TOP_TAGS", "5")
    settings = Settings.resolve({"seed": "9"})
    assert (settings.seed, settings.top_tags, settings.test_share) == (9, 5, 0.2)


def test_strings_are_converted_to_the_settings_type():
    settings = Settings.resolve({"promote": "never", "test_share": "0.3", "seed": "1"})
    assert (settings.promote, settings.test_share, settings.seed) == ("never", 0.3, 1)


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings.resolve().seed = 1


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
        ("seed", "1.5"),
        ("test_share", "0"),
        ("test_share", "1"),
        ("test_share", "nan"),
        ("max_rejected_share", "1.01"),
        ("lsa_dimensions", "0"),
        ("lists_hops", "5"),
        ("labels_prior_weight", "-1"),
        ("labels_prior_weight", "inf"),
        ("authors_prior_weight", "nan"),
        ("graphsage_sample_sizes", "10,"),
        ("graphsage_sample_sizes", "0,10"),
        ("graphsage_sample_sizes", ""),
        ("graphsage_learning_rate", "inf"),
        ("graphsage_activation", "tanh"),
        ("store", "mongodb"),
        ("workspace", ""),
        ("promote", "perhaps"),
        ("mlflow_experiment", ""),
    ],
)
def test_an_impossible_value_is_refused_in_a_sentence_that_names_it(name, value):
    sentence = rf"^Impossible settings: {name}={value!r}: .+ \(.+\)$"
    with pytest.raises(TagsageError, match=sentence) as caught:
        Settings.resolve({name: value})
    assert "\n" not in str(caught.value)


def test_every_impossible_value_is_told_at_once():
    with pytest.raises(TagsageError, match=r"top_tags='0'.*seed='x'|seed='x'.*top_tags='0'"):
        Settings.resolve({"seed": "x", "top_tags": "0"})


def test_files_given_make_the_corpus_csv():
    assert Settings.resolve({"articles": "a.csv", "lists": "l.csv"}).corpus == "csv"


def test_files_in_the_environment_make_the_corpus_csv_too(monkeypatch):
    monkeypatch.setenv("TAGSAGE_ARTICLES", "a.csv")
    monkeypatch.setenv("TAGSAGE_LISTS", "l.csv")
    assert Settings.resolve().corpus == "csv"


def test_files_on_the_command_line_outweigh_a_corpus_from_the_environment(monkeypatch):
    monkeypatch.setenv("TAGSAGE_CORPUS", "bundled")
    assert Settings.resolve({"articles": "a.csv", "lists": "l.csv"}).corpus == "csv"


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
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, message):
    with pytest.raises(TagsageError, match=f"^Impossible settings: {re.escape(message)}"):
        Settings.resolve(overrides)


def test_the_default_candidates_are_parsed_in_order():
    pairs = Settings.resolve().parsed_candidates()
    assert [f"{features}:{classifier}" for features, classifier in pairs] == (
        DEFAULT_CANDIDATES.split(",")
    )
    assert pairs[0] == ("words", "linear")


def test_spaces_around_candidates_do_not_matter():
    settings = Settings.resolve({"candidates": " text:mlp , lists:mlp"})
    assert settings.parsed_candidates() == [("text", "mlp"), ("lists", "mlp")]


@pytest.mark.parametrize("item", ["", "text", "text:", ":mlp", "text+:mlp", "+text:mlp"])
def test_a_malformed_candidate_is_refused_with_the_form_it_should_have(item):
    sentence = f"candidate {item!r} is not feature_set:classifier, with a feature_set of blocks"
    with pytest.raises(TagsageError, match=re.escape(sentence)):
        Settings.resolve({"candidates": f"text:ovr_logistic,{item}"})


def test_a_candidate_given_twice_is_refused():
    with pytest.raises(TagsageError, match=r"candidate 'text:mlp' is given twice"):
        Settings.resolve({"candidates": "text:mlp,lists:mlp,text:mlp"})


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=8)))
def test_any_strings_give_settings_or_one_sentence(overrides):
    try:
        settings = Settings.resolve(overrides)
    except TagsageError:
        return
    # What was accepted can be used.
    assert settings.parsed_candidates()
    assert min(settings.sample_sizes()) >= 1


def test_every_setting_has_a_description():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_tracking_uri_with_a_password_is_refused_without_showing_it():
    with pytest.raises(TagsageError, match="MLFLOW_TRACKING_URI") as caught:
        Settings.resolve({"mlflow_tracking_uri": "postgresql://ann:sesame@db.example/mlflow"})
    assert "sesame" not in str(caught.value)

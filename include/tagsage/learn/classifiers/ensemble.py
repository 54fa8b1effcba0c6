"""A linear model on sparse features and a network on dense ones, averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray
from tagsage.learn.classifiers.base import Classifier, Range, Validation
from tagsage.learn.classifiers.linear import Linear
from tagsage.learn.classifiers.mlp import Mlp

# The shares of the linear model that are tried.
SHARES = np.linspace(0, 1, 11)


class Ensemble(Classifier):
    """P = w P_linear + (1 - w) P_mlp.

    The two err in different places: the linear model knows every word, list and author by itself,
    the network what is alike. The share w is that with the lowest log loss on validation articles,
    if there are any. Where all blocks are sparse, or dense, there is only one of the two.
    """

    name: ClassVar[str] = "ensemble"
    defaults: ClassVar[Mapping[str, Any]] = {**Linear.defaults, **Mlp.defaults, "linear_share": 0.5}
    space: ClassVar[Mapping[str, Range]] = {**Linear.space, **Mlp.space}
    sparse: ClassVar[bool] = True

    def __init__(self, *, seed: int, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        self.members: dict[str, Classifier] = {
            kind.name: kind(seed=seed, **{name: self.settings[name] for name in kind.defaults})
            for kind in (Linear, Mlp)
        }

    def _fit(
        self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, validation: Validation | None
    ) -> None:
        for member, part in self._parts(X):
            member.fit(part, rows, Y, validation=validation)
            known = (name for name in member.fitted if name != "features")
            self.fitted |= {name: member.fitted[name] for name in known}
        if validation is not None:
            self._choose_share(X, validation)

    def _choose_share(self, X: FeatureMatrix, validation: Validation) -> None:
        found = [member.predict_proba(part, validation.rows) for member, part in self._parts(X)]
        if len(found) < 2:
            return
        losses = []
        for share in SHARES:
            P = (share * found[0] + (1 - share) * found[1]).clip(1e-7, 1 - 1e-7)
            losses.append(-np.log(np.where(validation.Y, P, 1 - P)).sum(dtype=np.float64))
        share = float(SHARES[int(np.argmin(losses))])
        self.settings["linear_share"] = self.fitted["linear_share"] = share

    def _predict_rows(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        found = [member.predict_proba(part, rows) for member, part in self._parts(X)]
        if len(found) == 1:
            return found[0]
        share = np.float32(self.settings["linear_share"])
        mean: FloatArray = share * found[0] + (1 - share) * found[1]
        return mean

    def _parts(self, X: FeatureMatrix) -> Iterator[tuple[Classifier, FeatureMatrix]]:
        for member, part in (
            (self.members[Linear.name], X.sparse_part()),
            (self.members[Mlp.name], X.dense_part()),
        ):
            if part is not None:
                yield member, part

    def save(self, folder: Path) -> None:
        """Write the members beside it."""
        for name, member in self.members.items():
            member.save(folder / name)
        super().save(folder)

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> Self:
        """Read the members, too."""
        from tagsage.learn.classifiers.by_name import load_classifier

        classifier = super().load(folder, about)
        classifier.members = {name: load_classifier(folder / name) for name in classifier.members}
        return classifier

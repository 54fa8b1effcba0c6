"""What a run calls its graphs and its model on the server."""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "tagsage-"


@dataclass(frozen=True)
class RunNames:
    """The names of one run of one workspace.

    Attributes
    ----------
    owner : str
        A short digest of the workspace: letters and digits.
    run_id : str
        The run; characters that are not letters, digits, ``.``, ``_`` or ``-`` become ``_``.
    """

    owner: str
    run_id: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]+", self.owner):
            raise ValueError(f"an owner is letters and digits, not {self.owner!r}")

    @property
    def family(self) -> str:
        """What the names of all runs of the workspace start with."""
        return f"{PREFIX}{self.owner}-"

    @property
    def graph(self) -> str:
        """The projection, and the similarity in it."""
        return self.family + re.sub(r"[^A-Za-z0-9._-]", "_", self.run_id)

    @property
    def whole_graph(self) -> str:
        """The projection with all lists, while the long ones are being left out."""
        return f"{self.graph}-whole"

    @property
    def sample(self) -> str:
        """The sample to train on."""
        return f"{self.graph}-sample"

    @property
    def model(self) -> str:
        """The GraphSAGE model."""
        return f"{self.graph}-graphsage"

    def owns(self, name: str) -> bool:
        """Tell whether a graph or model is this run's."""
        return name in {self.graph, self.whole_graph, self.sample, self.model}

    def related(self, name: str) -> bool:
        """Tell whether a graph or model is of this workspace, whatever the run."""
        return name.startswith(self.family)

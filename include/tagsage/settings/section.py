"""What every section of the settings is: typed, immutable fields under a title."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the settings; `title` is its heading where settings are listed."""

    model_config = ConfigDict(frozen=True)

    title: ClassVar[str]

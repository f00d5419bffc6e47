"""What an index is made of: definitions, observations with where they come from, weights, runs.

`migrations/sql/` holds the triggers by which all of it stays as it is.
"""

from __future__ import annotations

from index.models.definitions import IndexDefinition
from index.models.maps import IndexMap
from index.models.observations import Observation, ObservationBatch
from index.models.panels import Expert, Judgement, Panel
from index.models.previews import IndexPreview, PreviewChange
from index.models.ratings import TaskRating
from index.models.runs import IndexRun
from index.models.weights import WeightSet

__all__ = [
    "Expert",
    "IndexDefinition",
    "IndexMap",
    "IndexPreview",
    "IndexRun",
    "Judgement",
    "Observation",
    "ObservationBatch",
    "Panel",
    "PreviewChange",
    "TaskRating",
    "WeightSet",
]

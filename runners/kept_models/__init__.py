"""Models of finished trials, for use outside of a sweep."""

from runners.kept_models.loading import LoadedModel, load_model
from runners.kept_models.preprocessing import Preprocessing

__all__ = ["LoadedModel", "Preprocessing", "load_model"]

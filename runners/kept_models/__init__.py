"""Models of finished trials, for use outside of a sweep."""

from runners.kept_models.loading import LoadedModel, load_model
from runners.kept_models.preprocessing import Preprocessing
from runners.kept_models.text_preprocessing import TextPreprocessing

__all__ = ["LoadedModel", "Preprocessing", "TextPreprocessing", "load_model"]

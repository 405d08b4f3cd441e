"""Text: a BERT encoder whose attention maps a mechanism may refine, from an architecture; its cost."""

from __future__ import annotations

from modelzoo.text.build import TextClassifier, build_text_encoder
from modelzoo.text.cost import measure_text_cost

__all__ = ["TextClassifier", "build_text_encoder", "measure_text_cost"]

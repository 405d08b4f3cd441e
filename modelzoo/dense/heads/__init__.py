"""Decode heads: feature maps to the logits of every pixel."""

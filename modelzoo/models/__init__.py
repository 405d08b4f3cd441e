"""Whole architectures of the zoo, registered with timm: one module per paper, its parts beside it under its name."""

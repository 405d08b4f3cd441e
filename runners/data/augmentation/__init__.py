"""Augmentation and normalisation of images that have a class each: timm's transforms, for images of any storage."""

"""Verbs that write a file from a name, a dataset or a checkpoint, and the lists of what a sweep may name."""

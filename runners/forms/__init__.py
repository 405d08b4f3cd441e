"""Whether the trials of a variant train by themselves or as one stacked model, and what that is decided by."""

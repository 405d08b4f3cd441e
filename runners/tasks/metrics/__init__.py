"""Metrics of the tasks over whole splits, computed from counts that add up over batches and processes."""

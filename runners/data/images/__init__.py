"""Images that have a class each: the built-in sets, those of other libraries, and their batches."""

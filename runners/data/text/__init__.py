"""Text: drawn sentences, tables and tasks of GLUE on disk, tokens, and batches of them."""

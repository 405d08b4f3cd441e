"""What is looked for in the variants of a plan before anything trains."""

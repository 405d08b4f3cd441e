"""What is found out about a dataset once per run and node, and shared by its trials."""

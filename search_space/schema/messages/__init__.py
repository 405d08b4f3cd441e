"""Errors of pydantic as readable messages, with what is legal at each place."""

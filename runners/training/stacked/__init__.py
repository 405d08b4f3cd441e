"""Trainings of several members as one stack."""

"""Trainings of the user's own: a function of theirs, or a program. Everything around them is archsweep's."""

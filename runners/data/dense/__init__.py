"""Images with an answer for every pixel: drawn scenes, folders of label maps, and what changes both together.

Nothing here reads a `TaskSpec`: functions take plain arguments, so that every task with label maps can use them.
"""

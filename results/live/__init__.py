"""Pages of runs that go on: the overview of a folder, a run and a trial, as `archsweep serve` sends them.

Not imported by `results`, for the reason of `results.report`. No server and no network here: what asks for a page, and
whether it may, is decided by the caller.
"""

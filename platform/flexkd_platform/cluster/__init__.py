"""The Ray cluster: connecting to it, asking what it has, and shipping our code to it."""

from .capacity import Capacity, Node, fitting_trials, resource_problems

__all__ = [
    "Capacity",
    "Node",
    "fitting_trials",
    "resource_problems",
]

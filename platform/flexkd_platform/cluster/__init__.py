"""The Ray cluster: connect to it, query its resources, and ship our code to it."""

from .capacity import Capacity, Node, fitting_trials, resource_problems

__all__ = [
    "Capacity",
    "Node",
    "fitting_trials",
    "resource_problems",
]

"""Search: choose the points of a sweep that become trials, and the trials to stop early."""

from .build import build_plan
from .choosing import nothing_left, search_json, winner_json
from .importance import setting_importance
from .refused import Refused, refused_text
from .space import Point, Search, Space, grid_points

__all__ = [
    "Point",
    "Refused",
    "Search",
    "Space",
    "build_plan",
    "grid_points",
    "nothing_left",
    "refused_text",
    "search_json",
    "setting_importance",
    "winner_json",
]

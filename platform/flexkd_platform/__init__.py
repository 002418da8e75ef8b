"""The platform: from a job spec to a compared, tracked set of distilled students."""

__version__ = "0.1.0"

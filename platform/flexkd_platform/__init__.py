"""The platform: from a job spec to a compared, tracked set of distilled students."""

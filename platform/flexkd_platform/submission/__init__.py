"""Submission: sending a job to a shared cluster through Ray Jobs or KubeRay, and following it."""

"""Submission: send a job to a shared cluster through Ray Jobs or KubeRay, and follow its log."""

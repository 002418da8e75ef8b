"""Files of the app: its page, its style sheet and its scripts."""

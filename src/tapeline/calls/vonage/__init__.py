"""Vonage's applications: what answers their calls, what they are told, what they do."""

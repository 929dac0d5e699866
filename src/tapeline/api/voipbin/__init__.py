"""VoIPBIN's face: REST under /v1.0."""

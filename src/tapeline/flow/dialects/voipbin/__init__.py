"""VoIPBIN's flows."""

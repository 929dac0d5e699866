"""Vonage's NCCOs."""

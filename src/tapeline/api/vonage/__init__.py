"""Vonage's face: the Voice API."""

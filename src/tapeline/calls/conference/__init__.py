"""Conferences: members, sound, recordings, and the register of them."""

"""KAZOO's callflows."""

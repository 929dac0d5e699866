"""What the faces use: who may do what, the live from memory, the past from rows."""

"""The operations of the program model, one file for each group: their fields, their checks, what they do while running."""

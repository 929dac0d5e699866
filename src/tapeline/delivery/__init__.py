"""What happens to a recording after it was captured. See README.md beside this file."""

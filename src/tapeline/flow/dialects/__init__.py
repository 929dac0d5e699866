"""The dialects: one module for each, from a document to a program. `registry` lists them."""

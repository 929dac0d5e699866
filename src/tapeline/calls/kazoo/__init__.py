"""What KAZOO's documents bring to calls beside flows: recording by itself, keys, slots, boxes."""

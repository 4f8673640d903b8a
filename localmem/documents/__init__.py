"""Files become texts and texts become chunks; nothing here knows of a store."""

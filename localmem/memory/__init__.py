"""The tiers of memory: the log and its queue, core blocks, recall and archival storage, on one disk."""

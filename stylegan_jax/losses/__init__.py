"""Losses and regularisers over callables and arrays; they know no model and no config."""

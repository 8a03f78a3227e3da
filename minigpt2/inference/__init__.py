"""`model` without its equations: options, checked inputs, the cache, hooks, and what makes it fast."""

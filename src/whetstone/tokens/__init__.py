"""Token ids: what becomes a control token, and what stays text."""

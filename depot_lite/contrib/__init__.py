"""depot_lite inside the frameworks that people already use: one module each, and what they share."""

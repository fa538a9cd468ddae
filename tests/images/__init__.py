"""Images: probed, verified, rendered, stripped."""
